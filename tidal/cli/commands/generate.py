"""`tidal generate`: continues a text, with fixed gates or with a controller's gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from lm.passed_files import BundledInFiles, InsideInFiles, NotInFiles
from tidal.cli.console import output, print_text
from tidal.cli.parsing import new_parser
from tidal.jobs.config import GenerateConfig

if TYPE_CHECKING:
    from agents.episodes.drawn_tokens import DrawnToken


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("generate", "Continue a text: by plain sampling, with fixed gates, or with a controller.")
    add = parser.add_option
    add("prompt", type=str, help="Text to continue.")
    add("--gates", type=float, nargs=3, metavar=("CREATIVITY", "FOCUS", "STABILITY"), help="Fixed gates in [0, 1].")
    add("--controller", type=InsideInFiles | None, default=None, help="Folder of a controller, which sets the gates.")
    add("--model", type=BundledInFiles | None, default=None,
        help="Language model: a bundled name, a folder or a hub id. "
        "Default: the controller's training model, else tidal-tiny.")  # fmt: skip
    add("--statistics", type=NotInFiles | None, default=None,
        help="File of the model's reference statistics. Default: the "
        "one in the model's folder.")  # fmt: skip
    add("--max_tokens", type=int, default=200, help="Maximum number of new tokens, at least 1.")
    add("--temperature", type=float | None, default=None, help="Temperature at the middle of the creativity gate, "
        "above 0. Default: as in the controller's training, else 1.")  # fmt: skip
    add("--top_k", type=int | None, default=None, help="Number of most probable tokens to sample from, at least 1. "
        "Default: as in the controller's training, else 40.")  # fmt: skip
    add("--top_p", type=float | None, default=None, help="Nucleus sampling: total probability of the tokens to sample "
        "from, in (0, 1]. Default: as in the controller's training, else 1.")  # fmt: skip
    add("--seed", type=int, default=0, help="Seed of the sampling, at least 0.")
    add("--stop", type=str, nargs="+", default=[], help="Stop strings. The text ends after the first one.")
    add("--show_gates", action="store_true", help="Colour each token by its gates; outside a terminal, list the gates.")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the prompt and the tokens as they are drawn."""
    options = make_parser().parse_args(list(arguments))

    from tidal.cli.coloured_text import gates_table, legend, token_text
    from tidal.jobs.texts import drawn_tokens

    config = GenerateConfig(
        prompt=options.prompt,
        controller=options.controller,
        gates=None if options.gates is None else tuple(options.gates),
        model=options.model,
        statistics=options.statistics,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        stop=tuple(options.stop),
    )
    tokens = drawn_tokens(config)

    drawn: list[DrawnToken] = []
    is_coloured = options.show_gates and output.is_terminal
    for token in tokens:
        if not drawn:  # the options have been checked by now
            print_text(options.prompt, style="dim")
        drawn.append(token)
        print_text(token_text(token.text, token.gates) if is_coloured else token.text)
    output.print()
    if options.show_gates:
        output.print()
        output.print(legend(drawn) if is_coloured else gates_table(drawn))
    return 0
