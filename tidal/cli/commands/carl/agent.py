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
    add("--temperature", type=float, default=0.0,
        help="Sampling temperature in [1e-4, 1e4], or 0, which is greedy decoding.")  # fmt: skip
    add("--seed", type=int, default=0, help="Seed of the sampling, at least 0.")
    add("--json", action="store_true", help="Print JSON.")
    return parser


def run(options: Namespace) -> int:
    """Print the answer, or nothing on abstention; the reason goes to standard error."""
    from lm.carl.agent import agent_step
    from lm.errors import InvalidValueError
    from lm.model_names import resolve
    from lm.models.bundle import load_model
    from lm.tokenizers.tokenization import load_tokenizer

    source = resolve(options.model)
    try:
        step = agent_step(
            load_model(source),
            load_tokenizer(source),
            options.prompt,
            threshold=options.threshold,
            max_new_tokens=options.max_tokens,
            temperature=options.temperature,
            seed=options.seed,
        )
    except InvalidValueError as error:
        raise error.named("max_tokens") if error.arguments[0] == "max_new_tokens" else error from None
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
