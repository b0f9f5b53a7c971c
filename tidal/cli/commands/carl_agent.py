"""`tidal carl agent`: answers a prompt, or abstains if the model's mean Φ is below a threshold."""

from __future__ import annotations

import json
from dataclasses import asdict

from jsonargparse import ArgumentParser, Namespace

from lm.passed_files import BundledInFiles
from tidal.cli.console import errors, print_text
from tidal.cli.parsing import new_parser


def make_parser() -> ArgumentParser:
    """The subcommand's options."""
    from lm.carl.constants import SIGMA

    parser = new_parser("carl agent", "Answer a prompt, or abstain if the model's mean Φ is below the threshold.")
    add = parser.add_option
    add(
        "prompt",
        type=str,
        help="Prompt: a message if the model has a chat template, else a text to continue.",
    )
    add("--model", type=BundledInFiles, default="tidal-tiny",
        help="Language model: a bundled name, a folder or a hub id.")  # fmt: skip
    add("--threshold", type=float, default=SIGMA, help="Mean Φ below which to abstain, at most 1.")
    add("--max_tokens", type=int, default=64, help="Maximum number of new tokens, at least 1.")
    add("--temperature", type=float, default=0.0, help="Sampling temperature, at least 0; 0 is greedy decoding.")
    add("--seed", type=int, default=0, help="Seed of the sampling, at least 0.")
    add("--json", action="store_true", help="Print JSON.")
    return parser


def run(options: Namespace) -> int:
    """Print the answer, or nothing on abstention; the reason goes to standard error."""
    from lm.carl.agent import agent_step
    from lm.checks import COUNT, SEED, at_least, require_integer, require_number
    from lm.model_names import resolve
    from lm.models.bundle import load_model
    from lm.tokenizers.tokenization import load_tokenizer

    require_integer("seed", options.seed, SEED)
    require_number("temperature", options.temperature, at_least(0, 1e4))
    require_integer("max_tokens", options.max_tokens, COUNT)  # the function calls it `max_new_tokens`
    source = resolve(options.model)
    step = agent_step(
        load_model(source),
        load_tokenizer(source),
        options.prompt,
        threshold=options.threshold,
        max_new_tokens=options.max_tokens,
        temperature=options.temperature,
        seed=options.seed,
    )
    if options.json:
        print(json.dumps(asdict(step), indent=2))
        return 0
    phi = f"mean Φ {step.components['phi_mean']:.3f}, threshold {options.threshold:.3f}"
    if step.response is None:
        errors.print(f"Abstains: {phi}", soft_wrap=True)
    else:
        print_text(f"{step.response}\n")
        errors.print(f"Confidence {step.confidence}: {phi}", soft_wrap=True)
    return 0
