"""`tidal tune`: searches the best parameters of static gates and decoding methods, with equal budgets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jsonargparse import ArgumentParser

from agents.episodes.env_config import EnvConfig
from lm.checks import COUNT, SEED, check_fields
from lm.errors import CheckpointError
from lm.passed_files import BundledInFiles
from tidal.cli.console import print_figures, print_next, reporting
from tidal.cli.parsing import add_run_folder, instantiated, new_parser


@dataclass(frozen=True)
class TuneConfig:
    """Configuration of a tuning run."""

    env: EnvConfig
    """Environment to tune in, with its prompts."""
    decoders: tuple[str, ...]
    """Static gates and decoding methods to tune; empty for all."""
    env_steps: int
    """Budget of env steps (tokens) for each of them."""
    num_envs: int
    """Number of parallel episodes, at least 1."""
    seed: int
    """Seed of search and episodes, at least 0."""

    def __post_init__(self) -> None:
        check_fields(self, env_steps=COUNT, num_envs=COUNT, seed=SEED)


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

    from agents.baselines.tuning import FAMILIES, family_named, limit_of, read_tuning, tune
    from lm.runs.run_folder import claimed
    from lm.runs.whole_file import write_json

    families = [family_named(name) for name in config.decoders] or list(FAMILIES.values())
    for family in families:
        limit_of(family, env, config.env_steps, num_envs=config.num_envs)
    figures = {}
    adjustable = frozenset({"decoders"})
    env.make(config.num_envs).close()  # invalid arguments raise before the folder is created
    with claimed(
        options.output,
        "tune",
        config,
        resume=options.resume,
        overwrite=options.overwrite,
        adjustable=adjustable,
    ) as folder:
        for family in families:
            path = folder / f"{family.name}.json"
            if not path.exists():
                with reporting() as report:
                    tuning = tune(
                        family.name,
                        env,
                        env_steps=config.env_steps,
                        num_envs=config.num_envs,
                        seed=config.seed,
                        progress=report,
                    )
                write_json(path, tuning.to_json())
            found = read_tuning(path)
            if math.isnan(found.mean_return):
                raise CheckpointError(f"{path} is damaged: it lacks `mean_return`. Remove it to tune again.")
            settings = ", ".join(f"{name} {value:.4g}" for name, value in found.parameters.items())
            figures[family.name] = f"{found.mean_return:.2f} at {settings}"
    print_figures("Return on training prompts", figures)
    files = " ".join(str(folder / f"{family.name}.json") for family in families)
    print_next({"compare them on held-out prompts": f"tidal evaluate --agent {files} neutral"})
    return 0
