"""`tidal carl train`: fine-tuning and policy optimisation with coherence rewards."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser, Namespace

from tidal.cli.console import print_figures, print_next
from tidal.cli.parsing import add_run_folder, config_of, new_parser
from tidal.cli.running import run_in_folder


def make_parser() -> ArgumentParser:
    """The subcommand's options."""
    from lm.carl.training.config import CarlTrainConfig

    parser = new_parser("carl train", "Train a language model with coherence rewards (needs the extra `trl`).")
    add_run_folder(parser)
    parser.add_options_of(CarlTrainConfig)
    return parser


def run(options: Namespace) -> int:
    """Train with a progress bar, and print the figures and the model's path."""
    import datasets
    from transformers.utils import logging

    from lm.carl.training.config import CarlTrainConfig

    logging.set_verbosity_error()  # the trainers' warnings concern their own arguments
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    config = config_of(make_parser(), options, CarlTrainConfig)
    result = run_in_folder("carl-train", config, options).details
    print_figures("Trained", _figures(result) | {"Model": str(result.model_folder)})
    print_next(
        {
            "generate text with the model": f'tidal carl agent "Once upon a time" --model {result.model_folder}',
            "show the learning curves": f"tensorboard --logdir {options.output}",
        }
    )
    return 0


def _figures(result: Any) -> dict[str, str]:
    figures = {}
    if (sft := result.sft) is not None:
        ended = "not crystallised" if sft["opened_at"] is None else f"crystallised at step {sft['opened_at']}"
        figures["Fine-tuning"] = f"{sft['steps']} steps, {ended}, token accuracy {sft['mean_token_accuracy']:.3f}"
        figures["Peak entropy"] = f"{sft['peak_entropy']:.4f} nats at step {sft['peak_entropy_step']}"
    if (grpo := result.grpo) is not None:
        first, last = grpo["log"][0], grpo["log"][-1]
        figures["Policy optimisation"] = f"{grpo['steps']} steps"
        for key in last:
            if key.startswith("rewards/") and key.endswith("/mean"):
                figures[f"Reward {key.split('/')[1]}"] = f"{first[key]:.4f} at first, {last[key]:.4f} at last"
    return figures
