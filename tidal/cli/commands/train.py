"""`tidal train`: trains a controller with PPO."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from jsonargparse import ArgumentParser

from agents.training.config import TrainConfig
from lm.passed_files import BundledInFiles
from tidal.cli.console import print_figures, print_next
from tidal.cli.parsing import add_run_folder, config_of, new_parser
from tidal.cli.running import run_in_folder


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("train", "Train a controller that sets the gates of a language model, token by token.")
    add_run_folder(parser)
    parser.add_option("--model", type=BundledInFiles | None, default=None,
        help="Language model; overrides --env.model.")  # fmt: skip
    parser.add_options_of(TrainConfig)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Train with a progress bar, and print the figures and the controller's path."""
    parser = make_parser()
    options = parser.parse_args(list(arguments))
    config = config_of(parser, options, TrainConfig)
    if options.model is not None:
        config = replace(config, env=replace(config.env, model=options.model))

    from agents.episodes.env_config import OWN_IDS
    from agents.training.learning_curve import action_names
    from lm.model_names import bundled_models

    job = run_in_folder("train", config, options)
    folder, metrics = job.files["controller"], job.figures
    # A controller's file may name bundled models only.
    model = "" if config.env.model in bundled_models() else f" --model {shlex.quote(config.env.model)}"
    gates = zip(action_names(len(metrics["gate_means"])), metrics["gate_means"], metrics["gate_stds"], strict=True)
    reward = metrics["episode_reward"]
    figures = {
        "Env steps": f"{metrics['step']:,}",
        "Time": f"{metrics['seconds']:.0f} s, {metrics['step'] / metrics['seconds']:,.0f} steps/s",
        "Episode reward": "–" if reward is None else f"{reward:.2f}, still exploring",
        "Gates": ", ".join(f"{name} {mean:.2f} ± {std:.2f}" for name, mean, std in gates),
        "Controller": str(folder),
    }
    print_figures("Trained", figures)
    uses = {
        "compare it with baselines on held-out prompts": f"tidal evaluate --agent {folder} neutral random{model}",
        "generate text with it": f'tidal generate "Once upon a time" --controller {folder} --show_gates{model}',
    }
    curves = {"show the learning curves": f"tensorboard --logdir {options.output}"}
    print_next(uses | curves if config.env.id in OWN_IDS else curves)
    return 0
