"""`tidal demo`: the whole workflow in a few minutes, from a model to a report."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser
from rich.panel import Panel

from lm.passed_files import InsideInFiles
from lm.paths import user_path
from tidal.cli.console import errors, output, print_next, progress, reporting
from tidal.cli.parsing import add_overwrite, config_of, new_parser
from tidal.demo.config import DemoConfig

if TYPE_CHECKING:
    from tidal.demo.run import DemoResult

EXIT_NOT_BETTER = 1


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("demo", "Train a controller for a language model, compare it on held-out prompts with the best "
        "static setting and other baselines, and write a report.")  # fmt: skip
    add = parser.add_option
    add(
        "--output", type=InsideInFiles | None, default=None,
            help="Folder for results and report. Default: a new folder in runs/."
    )
    add_overwrite(parser, "Replace the demonstration in the folder.")
    add("--quick", action="store_true", help="Run all phases in seconds, too short for learning; "
        "replaces the numbers of steps, settings and episodes.")  # fmt: skip
    parser.add_options_of(DemoConfig)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run all phases, print the table and the report's path. Exit code 1 if the controller is not better."""
    parser = make_parser()
    options = parser.parse_args(list(arguments))
    config = config_of(parser, options, DemoConfig)
    if options.quick:
        config = config.shortened()
    folder = user_path(options.output or f"runs/demo-{datetime.now():%Y%m%d-%H%M%S}")

    with progress("Importing the libraries"):
        from tidal.cli.evaluation_table import evaluation_table
        from tidal.demo.report import write_report
        from tidal.demo.run import RESULTS_FILE, TRAINING_FOLDER, run_demo

    with reporting() as shown:
        result = run_demo(config, folder, overwrite=options.overwrite, progress=shown)
    report = write_report(result, folder, command=shlex.join(["tidal", "demo", *arguments]))

    evaluations = [*result.evaluations.values(), *([result.oracle] if result.oracle else [])]
    title = f"Held-out prompts, {result.training.env.max_episode_steps} tokens each: {config.episodes} episodes"
    if result.oracle is not None:
        title += f", the oracle on the first {len(result.oracle.returns)}"
    output.print()
    output.print(evaluation_table(evaluations, title, output.width))
    tuning = result.tuning
    output.print(
        f"Best static: the best of {tuning.num_settings} settings on the training prompts, tuned with "
        f"{tuning.env_steps:,} env steps; the controller learned from {result.curve[-1].step:,}."
    )
    output.print(Panel(verdict(result), expand=False, border_style="green" if result.is_better else "red"))
    output.print(f"Results  {folder / RESULTS_FILE}", soft_wrap=True)
    output.print(f"Report   {report}", soft_wrap=True)
    if result.is_better or options.quick:
        controller = folder / TRAINING_FOLDER / "controller"
        print_next(
            {"generate a text with it": f'tidal generate "Once upon a time" --controller {controller} --show_gates'}
        )
        return 0
    errors.print("The demonstration failed: the controller does not beat the best static setting.", style="bold red")
    return EXIT_NOT_BETTER


def verdict(result: DemoResult) -> str:
    """The result in a sentence or two."""
    advantage = result.advantage
    beats = "beats" if result.is_better else "does not beat"
    text = f"The controller {beats} the best static setting: {advantage.mean:+.2f} an episode, "
    text += f"95% interval {advantage.low:+.2f} to {advantage.high:+.2f}."
    if result.is_gap_narrower:
        text += f"\nIt closes {result.gap_closed:.0%} of the gap to the one-step oracle, on the oracle's episodes."
    if not result.is_better:
        text += "\nA quick run is too short for conclusions." if result.config == result.config.shortened() else ""
    return text
