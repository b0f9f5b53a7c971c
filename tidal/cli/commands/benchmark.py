"""`tidal benchmark`: compares learned controllers with every tuned baseline, with confidence intervals."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from lm.checks import COUNT, require_integer
from lm.extras import require_extra
from tidal.benchmark.config import BenchmarkConfig
from tidal.cli.console import errors, output, progress, reporting
from tidal.cli.parsing import add_run_folder, config_of, new_parser

EXIT_INCOMPLETE = 1


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("benchmark", "Train controllers, tune every baseline with at least as many env steps, "
        "compare all on the same held-out episodes, and write JSON, plots and a report (needs the extras "
        "`eval` and `tune`).")  # fmt: skip
    add_run_folder(parser)
    add = parser.add_option
    add("--quick", action="store_true", help="Fewer steps, seeds and episodes: minutes on two cores.")
    add("--report_only", action="store_true", help="Run nothing; report the folder's finished stages.")
    add("--workers", type=int | None, default=None, help="Number of worker processes, at least 1. "
        "Default: the number of cores.")  # fmt: skip
    parser.add_options_of(BenchmarkConfig)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run the unfinished stages, print the table and the report's path. Exit code 1 if a stage failed."""
    parser = make_parser()
    options = parser.parse_args(list(arguments))
    config = config_of(parser, options, BenchmarkConfig)
    if options.workers is not None:
        require_integer("workers", options.workers, COUNT)
    if options.quick:
        config = config.shortened()
    command = shlex.join(["tidal", "benchmark", *arguments])

    with progress("Importing the libraries"):
        from agents.episodes.episodes import require_series
        from agents.evaluation.text_measures import require_measurable
        from tidal.benchmark.run import claimed_folder

    require_extra("rliable", "eval", "The benchmark")  # fail now rather than in an hour
    if not options.report_only:
        if config.decoders:
            require_extra("optuna", "tune", "Tuning decoders")
        env = config.training.env
        require_series(config.episodes, config.evaluation_seed, env.max_episode_steps)
        vector_env = env.make(1)  # a missing model also fails now
        if config.text_episodes > 0:
            require_measurable(config.text, vector_env.unwrapped.bundle)
        vector_env.close()
    resume = options.resume or options.report_only
    with claimed_folder(config, options.output, resume=resume, overwrite=options.overwrite) as folder:
        return _run_in(folder, config, options, command)


def _run_in(folder: Path, config: BenchmarkConfig, options: Namespace, command: str) -> int:
    from tidal.benchmark.report import REPORT_FILE
    from tidal.benchmark.run import RESULTS_FILE, publish, run_benchmark
    from tidal.benchmark.table import comparison_table
    from tidal.stages.worker_processes import cores

    failures: dict[str, str] = {}
    if not options.report_only:
        with reporting() as report:
            failures = run_benchmark(
                config,
                folder,
                workers=cores() if options.workers is None else options.workers,
                command=command,
                progress=report,
                on_stage=_tell,
            )
    with progress("Collecting the results"):
        results = publish(config, folder, command=command)
    output.print()
    output.print(comparison_table(results, output.width))
    for claim in results["claims"]:
        style = "green" if claim["holds"] else "red"
        output.print("✓" if claim["holds"] else "✗", style=style, end=" ")
        output.print(f"{claim['claim']}: {claim['evidence']}", soft_wrap=True)
    output.print(f"Results  {folder / RESULTS_FILE}", soft_wrap=True)
    output.print(f"Report   {folder / REPORT_FILE}", soft_wrap=True)
    for name, failure in failures.items():
        errors.print(f"Stage `{name}` failed.", style="bold red")
        errors.print(failure, soft_wrap=True)
    return EXIT_INCOMPLETE if failures else 0


def _tell(name: str, result: dict[str, Any]) -> None:
    figures = []
    if isinstance(interval := result.get("mean_return"), dict):  # of an evaluation; a tuning's own is biased
        figures.append(f"return {interval['mean']:.2f}")
    if "env_steps" in result:
        figures.append(f"{result['env_steps']:,} env steps")
    errors.print(", ".join([f"{name}: {result['seconds']:.0f} s", *figures]), soft_wrap=True)
