"""`tidal tune`: searches the best parameters of static gates and decoding methods, with equal budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jsonargparse import ArgumentParser

from agents.episodes.env_config import EnvConfig
from lm.passed_files import BundledInFiles
from tidal.cli.console import print_figures, print_next
from tidal.cli.parsing import add_run_folder, instantiated, new_parser
from tidal.cli.running import run_in_folder
from tidal.jobs.config import TuneConfig


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("tune", "Tune static gates and decoding methods, each with the same number of env steps.")
    add_run_folder(parser)
    add = parser.add_option
    add("--decoder", type=str, nargs="+", default=[], help="`static` or decoding methods to tune. Default: all.")
    add("--env_steps", type=int, default=200_000, help="Budget of env steps (tokens) for each of them.")
    add("--num_envs", type=int, default=64, help="Number of parallel episodes, at least 1.")
    add("--seed", type=int, default=0, help="Seed of search and episodes, at least 0.")
    add("--model", type=BundledInFiles | None, default=None, help="Language model; overrides --env.model.")
    add("--env", type=EnvConfig, default=EnvConfig(), help="Environment to tune in, with its prompts.")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Tune the methods one after the other, and write a file for each; methods that have their file are skipped."""
    parser = make_parser()
    options = parser.parse_args(list(arguments))
    env = instantiated(parser, options).env
    if options.model is not None:
        env = replace(env, model=options.model)
    config = TuneConfig(env, tuple(options.decoder), options.env_steps, options.num_envs, options.seed)

    job = run_in_folder("tune", config, options)
    figures = {}
    for family, found in job.figures.items():
        settings = ", ".join(f"{name} {value:.4g}" for name, value in found["parameters"].items())
        figures[family] = f"{found['mean_return']:.2f} at {settings}"
    print_figures("Return on training prompts", figures)
    files = " ".join(map(str, job.files.values()))
    print_next({"compare them on held-out prompts": f"tidal evaluate --agent {files} neutral"})
    return 0
