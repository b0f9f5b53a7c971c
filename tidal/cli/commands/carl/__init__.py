"""`tidal carl`: coherence scores of logits, gates, training with coherence rewards, and an agent that can abstain."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from rich.table import Table

from tidal.cli.commands.carl import agent, train
from tidal.cli.console import output, print_figures
from tidal.cli.parsing import new_parser


def make_parser() -> ArgumentParser:
    """The command's subcommands and their options."""
    parser = new_parser("carl", "Coherence of a language model's predictions: scores, gates, training, an agent.")
    subcommands = parser.add_subcommands(title="subcommands")
    for name, (make_subparser, _) in SUBCOMMANDS.items():
        subparser = make_subparser()
        subcommands.add_subcommand(name, subparser, help=subparser.description)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run a subcommand."""
    options = make_parser().parse_args(list(arguments))
    _, run_subcommand = SUBCOMMANDS[options.subcommand]
    return run_subcommand(options[options.subcommand])


def _phi_parser() -> ArgumentParser:
    parser = new_parser("carl phi", "Compute the order parameter Φ = 1 − H/log V of each prediction.")
    parser.add_option("logits", type=str, help="Logits (T, V) or (B, T, V): .npy, or .npz with an array `logits`.")
    parser.add_option("--json", action="store_true", help="Print JSON, with Φ and entropy of every token.")
    return parser


def _phi(options: Namespace) -> int:
    from lm.carl.array_files import load_array
    from lm.carl.field import compute_phi

    phi, entropy = compute_phi(load_array(options.logits, "logits"))
    if options.json:
        print(json.dumps({"phi": phi.tolist(), "entropy": entropy.tolist()}))
        return 0
    figures = {
        "Φ": f"mean {phi.mean():.4f}, standard deviation {phi.std():.4f}, from {phi.min():.4f} to {phi.max():.4f}",
        "Entropy": f"mean {entropy.mean():.4f} nats",
    }
    print_figures(f"{phi.size:,} predictions", figures)
    return 0


def _reward_parser() -> ArgumentParser:
    parser = new_parser("carl reward", "Compute the CARL reward of sequences from their logits and tokens.")
    add = parser.add_option
    add("logits", type=str, help="Logits (T, V) or (B, T, V) of a model for the tokens: .npy, or .npz with an "
        "array `logits`.")  # fmt: skip
    add("--token_ids", type=str | None, default=None, help="Tokens (T,) or (B, T): .npy or .npz. Default: the array "
        "`token_ids` of the logits' .npz file.")  # fmt: skip
    add("--mask", type=str | None, default=None, help="True for the tokens of completions, of the tokens' shape: "
        ".npy or .npz. Default: the array `mask` of the logits' .npz file, else all True.")  # fmt: skip
    add("--alignment", type=str, default="shifted", help="shifted: a token is scored with the logits before it; "
        "paired: with those at its own position, as published.")  # fmt: skip
    add("--composite", type=str | None, default=None, help="corrected or published. Default: corrected for shifted "
        "and published for paired.")  # fmt: skip
    add("--json", action="store_true", help="Print JSON.")
    return parser


def _reward(options: Namespace) -> int:
    from lm.carl.array_files import load_array, load_arrays
    from lm.carl.reward import carl_reward
    from lm.errors import InvalidValueError

    arrays = load_arrays(options.logits)
    if options.token_ids is None and "token_ids" not in arrays:
        hint = "Name a file by `--token-ids`."
        raise InvalidValueError("token_ids", f"must be an array in {options.logits}", ", ".join(arrays) or "none", hint)
    token_ids = load_array(options.token_ids or options.logits, "token_ids")
    mask = arrays.get("mask") if options.mask is None else load_array(options.mask, "mask")
    logits = arrays.get("logits", arrays.get(""))
    if logits is None:
        raise InvalidValueError("logits", f"must be an array in {options.logits}", ", ".join(arrays))
    reward, components = carl_reward(
        logits, token_ids, alignment=options.alignment, composite=options.composite, mask=mask
    )
    figures = {"reward": reward, **components}
    if options.json:
        print(json.dumps({name: np.asarray(values).tolist() for name, values in figures.items()}))
    elif np.ndim(reward) == 0:
        print_figures("CARL", {name: f"{value:.4f}" for name, value in figures.items()})
    else:
        output.print(_table(figures))
    return 0


def _table(figures: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("row", justify="right", style="dim", no_wrap=True)
    for name in figures:  # in narrow terminals names are shortened, not numbers
        table.add_column(name.replace("_", " "), justify="right", min_width=6, overflow="fold")
    for row, values in enumerate(zip(*figures.values(), strict=True)):
        table.add_row(str(row), *(f"{value:.4f}" for value in values))
    return table


def _gate_parser() -> ArgumentParser:
    from lm.carl.constants import SIGMA

    parser = new_parser("carl gate-check", "Decide from the mean Φ of an answer whether to act on it.")
    parser.add_option("phi", type=float, help="Mean Φ of the answer, at most 1.")
    parser.add_option("--threshold", type=float, default=SIGMA, help="Mean Φ below which to abstain, at most 1.")
    parser.add_option("--json", action="store_true", help="Print JSON.")
    return parser


def _gate(options: Namespace) -> int:
    from lm.carl.abstention import coherence_gate

    decision = coherence_gate(options.phi, options.threshold)
    if options.json:
        print(json.dumps(decision._asdict()))
    else:
        output.print(f"act, confidence {decision.confidence}" if decision.should_act else "abstain")
    return 0


def _constants_parser() -> ArgumentParser:
    parser = new_parser("carl constants", "Print the published constants.")
    parser.add_option("--dimension", type=int, default=768, help="Embedding dimension d of T*(d), at least 1.")
    parser.add_option("--json", action="store_true", help="Print JSON.")
    return parser


def _constants(options: Namespace) -> int:
    from lm.carl.constants import DEFECT_THRESHOLD, KAPPA, KAPPA_SIGMA, SIGMA, t_star

    figures = {
        "kappa": KAPPA,
        "sigma": SIGMA,
        "kappa_sigma": KAPPA_SIGMA,
        "defect_threshold": DEFECT_THRESHOLD,
        f"t_star({options.dimension})": t_star(options.dimension),
    }
    if options.json:
        print(json.dumps(figures))
    else:
        print_figures("Constants of CARL", {name: f"{value:,.6g}" for name, value in figures.items()})
    return 0


SUBCOMMANDS: dict[str, tuple[Callable[[], ArgumentParser], Callable[[Namespace], int]]] = {
    "phi": (_phi_parser, _phi),
    "reward": (_reward_parser, _reward),
    "gate-check": (_gate_parser, _gate),
    "constants": (_constants_parser, _constants),
    "train": (train.make_parser, train.run),
    "agent": (agent.make_parser, agent.run),
}
