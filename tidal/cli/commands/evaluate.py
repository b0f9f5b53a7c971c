"""`tidal evaluate`: compares controllers and baselines on the same episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from jsonargparse import ArgumentParser

from agents.episodes.env_config import EnvConfig
from lm.passed_files import BundledInFiles, InsideInFiles, TextInFiles, one_of
from tidal.cli.console import errors, output
from tidal.cli.parsing import add_overwrite, instantiated, new_parser
from tidal.cli.running import run_job
from tidal.jobs import agent_names
from tidal.jobs.config import EvaluateConfig


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("evaluate", "Compare agents on the same prompts with the same random numbers.")
    add = parser.add_option
    add("--agent", type=str, nargs="+", required=True, help=f"Agents: {agent_names.HELP}.")
    add("--prompts", type=Annotated[str, one_of("train", "heldout")], default="heldout",
        help='"heldout" or "train" (bundled openings), or a UTF-8 text file '
        "with one opening per line.")  # fmt: skip
    add("--episodes", type=int, default=256, help="Episodes of each agent, at least 1.")
    add("--num_envs", type=int, default=64, help="Episodes that run side by side, at least 1.")
    add("--seed", type=int, default=0, help="Seed of the episodes, at least 0.")
    add("--model", type=BundledInFiles | None, default=None, help="The same as --env.model, and goes before it.")
    add("--env", type=EnvConfig, default=EnvConfig(), help="Environment. Options at their defaults are "
        "taken from the training environment of the first controller among the agents.")  # fmt: skip
    add("--measures", action="store_true", help="Measure the texts and their distances to human texts.")
    add("--judge", type=BundledInFiles, default="tidal-judge", help="Model that scores the texts for the measures.")
    add("--human", type=TextInFiles | None, default=None,
        help="Human text for the measures: a .txt, .jsonl or .parquet file; "
        "default: bundled beginnings of stories.")  # fmt: skip
    add("--output", type=InsideInFiles | None, default=None,
        help="JSON file to write all figures, returns and sample texts to.")  # fmt: skip
    add_overwrite(parser, "Replace the file if it exists.")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Evaluate the agents, print a table and write the file."""
    parser = make_parser()
    options = parser.parse_args(list(arguments))
    env = instantiated(parser, options).env

    from agents.evaluation.text_measures_config import TextMeasuresConfig
    from lm.runs.output_file import require_writable
    from lm.runs.whole_file import write_json
    from tidal.cli.evaluation_table import evaluation_table

    target = require_writable(options.output, overwrite=options.overwrite) if options.output else None
    measures = TextMeasuresConfig(options.judge, options.human) if options.measures else None
    config = EvaluateConfig(
        agents=tuple(options.agent),
        env=env,
        model=options.model,
        prompts=options.prompts,
        episodes=options.episodes,
        num_envs=options.num_envs,
        seed=options.seed,
        measures=measures,
    )
    job = run_job("evaluate", config)
    evaluations = job.details
    title = f"{options.episodes} episodes, {options.prompts} prompts, {job.figures['environment']['model']}"
    output.print(evaluation_table(evaluations, title, output.width))
    if measures is not None:
        from tidal.cli.measures_table import measures_table

        output.print(measures_table(evaluations))
    if target is not None:
        write_json(target, job.figures)
        errors.print(f"Written to {target}", soft_wrap=True)
    return 0
