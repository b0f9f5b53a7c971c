"""`tidal rlm`: trains language models on random grammars, for which the optimal model is known."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser, Namespace

from tidal.cli.console import print_figures, print_next
from tidal.cli.parsing import CommandParser, add_run_folder, config_of, new_parser
from tidal.cli.running import run_in_folder

TRAIN = "Train a model on the sentences of a random grammar, and compare it with the optimal model."
SWEEP = "Train a model for each value of a parameter and each grammar, and measure the excess over the optimum."


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = CommandParser(
        prog="tidal rlm",
        description="Train language models on random grammars, for which the optimal model is known.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parsers = parser.add_subcommands(dest="action", metavar="ACTION")
    parsers.add_subcommand("train", train_parser(), help=TRAIN)
    parsers.add_subcommand("sweep", sweep_parser(), help=SWEEP)
    return parser


def train_parser() -> ArgumentParser:
    """The options of `tidal rlm train`."""
    from lm.rlm.config import RLMConfig

    parser = new_parser("rlm train", TRAIN)
    add_run_folder(parser)
    parser.add_options_of(RLMConfig)
    return parser


def sweep_parser() -> ArgumentParser:
    """The options of `tidal rlm sweep`."""
    from lm.rlm.config import SweepConfig

    parser = new_parser("rlm sweep", SWEEP)
    add_run_folder(parser)
    parser.add_options_of(SweepConfig)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand."""
    options = make_parser().parse_args(list(arguments))

    from transformers.utils import logging

    logging.set_verbosity_error()  # the Trainer's warnings concern its own arguments
    actions = {"train": _train, "sweep": _sweep}
    return actions[options.action](options[options.action])


def _train(options: Namespace) -> int:
    from lm.rlm.config import RLMConfig

    config = config_of(train_parser(), options, RLMConfig)
    job = run_in_folder("rlm-train", config, options)
    result = job.details
    test, floors = result.best.test, result.floors
    figures = {
        "Parameters": f"{result.num_parameters:,}",
        "Steps": f"{result.final.step:,}, best model after {result.best.step:,}",
        "Test loss": f"{test.loss:.4f} nats",
        "Optimum": f"{floors.optimum:.4f} nats; bigram {floors.bigram:.4f}, unigram {floors.unigram:.4f}, "
        f"uniform {floors.uniform:.4f}",
        "Excess": f"{test.excess:.4f} nats above the optimum",
        "Accuracy": f"{test.accuracy:.4f}, best possible {floors.best_accuracy:.4f}",
        "Model": str(result.model_folder),
        "Plot": str(job.files["plot"]),
    }
    print_figures("Trained", figures)
    following = {"show the learning curves": f"tensorboard --logdir {options.output}"}
    if config.examples.task == "next":
        environment = f"--env.id TidalRLM-v0 --env.reward judge --env.max_episode_steps {2**config.grammar.depth}"
        following["train a controller for it"] = (
            f"tidal train {environment} --model {result.model_folder} --output {options.output}-controller"
        )
    print_next(following)
    return 0


def _sweep(options: Namespace) -> int:
    from lm.rlm.config import SweepConfig

    config = config_of(sweep_parser(), options, SweepConfig)
    job = run_in_folder("rlm-sweep", config, options)
    figures = {}
    for value, excess in job.figures["excess"].items():
        spread = f", {excess['min']:.4f} to {excess['max']:.4f}" if len(config.grammars) > 1 else ""
        figures[f"{config.parameter} {value}"] = f"{excess['mean']:.4f} nats{spread}"
    figures |= {"Results": str(job.files["results"]), "Plot": str(job.files["plot"])}
    print_figures(f"Excess over the optimum, mean of {len(config.grammars)} grammars", figures)
    return 0
