"""`tidal benchmark`: compares learned controllers with every tuned baseline, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from lm.paths import user_path
from tidal.benchmark.config import BenchmarkConfig
from tidal.cli.console import errors, output, progress
from tidal.cli.parsing import add_run_folder, config_of, new_parser
from tidal.cli.running import run_in_folder

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
    parser.add_options_of(BenchmarkConfig)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run the unfinished stages, print the table and the report's path. Exit code 1 if a stage failed."""
    parser = make_parser()
    options = parser.parse_args(list(arguments))
    config = config_of(parser, options, BenchmarkConfig)
    if options.quick:
        config = config.shortened()
    if options.report_only:
        from tidal.jobs.benchmark import report_only

        with progress("Collecting the results"):
            job = report_only(config, user_path(options.output))
    else:
        job = run_in_folder("benchmark", config, options)

    from tidal.benchmark.table import comparison_table

    output.print()
    output.print(comparison_table(job.details, output.width))
    for claim in job.figures["claims"]:
        style = "green" if claim["holds"] else "red"
        output.print("✓" if claim["holds"] else "✗", style=style, end=" ")
        output.print(f"{claim['claim']}: {claim['evidence']}", soft_wrap=True)
    output.print(f"Results  {job.files['results']}", soft_wrap=True)
    output.print(f"Report   {job.files['report']}", soft_wrap=True)
    for name, failure in job.figures["failures"].items():
        errors.print(f"Stage `{name}` failed.", style="bold red")
        errors.print(failure, soft_wrap=True)
    return EXIT_INCOMPLETE if job.figures["failures"] else 0
