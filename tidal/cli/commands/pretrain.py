"""`tidal pretrain`: trains a language model on text and writes a model folder."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from tidal.cli.console import print_figures, print_next
from tidal.cli.parsing import add_run_folder, config_of, new_parser
from tidal.cli.running import run_in_folder


def make_parser() -> ArgumentParser:
    """The command's options."""
    from lm.pretraining.config import PretrainConfig

    parser = new_parser("pretrain", "Train a language model on text, and save it with tokenizer and statistics.")
    add_run_folder(parser)
    parser.add_options_of(PretrainConfig)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Train with a progress bar, and print the figures and the model's path."""
    parser = make_parser()
    options = parser.parse_args(list(arguments))

    from transformers.utils import logging

    from lm.pretraining.config import PretrainConfig

    logging.set_verbosity_error()  # the Trainer's warnings concern its own arguments
    config = config_of(parser, options, PretrainConfig)
    result = run_in_folder("pretrain", config, options).details
    validation = result.validation
    figures = {
        "Parameters": f"{result.num_parameters:,}",
        "Steps": f"{result.steps:,}",
        "Validation loss": f"{validation.loss:.4f} nats/token",
        "Perplexity": f"{validation.perplexity:.2f}",
        "Bits per byte": f"{validation.bits_per_byte:.4f}",
        "Entropy": f"{validation.entropy:.4f} nats",
        "Model": str(result.model_folder),
    }
    print_figures("Pretrained", figures)
    folder = result.model_folder
    print_next(
        {
            "generate text with the model": f'tidal generate "Once upon a time" --model {folder}',
            "train a controller for it": f"tidal train --model {folder} --output {options.output}-controller",
            "show the learning curves": f"tensorboard --logdir {options.output}",
        }
    )
    return 0
