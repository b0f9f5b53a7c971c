"""The benchmark: learned controllers against tuned baselines and the oracle, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.training.learning_curve import read_learning_curve
from agents.training.run import CURVE_FILE
from lm.runs.progress import Progress, Report, ignore
from lm.runs.run_folder import claimed
from lm.runs.stop import StopRequest
from lm.runs.whole_file import write_json
from tidal.benchmark.config import BenchmarkConfig
from tidal.benchmark.report import write_report
from tidal.benchmark.results import collect_results
from tidal.benchmark.stages import STAGES_FOLDER, controller_folder, stages_of, training_stage
from tidal.stages.schedule import Stage, StagesStatus, run_stages
from tidal.stages.stage_results import StageResults

RESULTS_FILE = "results.json"
ADJUSTABLE = frozenset({"seeds", "decoders", "workers"})
"""Fields that may change when a benchmark is resumed: each seed and each decoder is a stage of its own."""
SECONDS_BETWEEN_RESULTS = 300.0
"""Interval between two updates of the results while stages run [s]."""


@contextmanager
def claimed_folder(config: BenchmarkConfig, output: str | Path, *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Create a benchmark's folder, or resume the benchmark in it, and lock the folder until the block ends.

    A resumed benchmark may have additional seeds and decoders.

    Raises:
        OutputExistsError: the folder is not empty, and neither `resume` nor `overwrite` is True.
        CheckpointError: `resume` is True and the configuration differs; names the difference.
    """
    with claimed(output, "benchmark", config, resume=resume, overwrite=overwrite, adjustable=ADJUSTABLE) as folder:
        yield folder


def run_benchmark(
    config: BenchmarkConfig,
    folder: Path,
    *,
    submit: Callable[[Stage], Future[Any]],
    workers: int,
    command: str,
    progress: Report = ignore,
    stop: StopRequest | None = None,
    on_stage: Callable[[str, dict[str, Any]], None] | None = None,
) -> dict[str, str]:
    """Run the stages that are not done yet, and return the failures by stage.

    Writes ``run.json``, ``stages/`` (a JSON file for each finished stage) and ``controllers/`` (the training runs) into
    the folder, and updates the results and the report every five minutes. An interrupted stage starts again; an
    interrupted training continues from its last checkpoint.

    Args:
        config: configuration of the benchmark.
        folder: folder of the benchmark, see :func:`claimed_folder`.
        submit: starts a stage elsewhere, see :func:`tidal.stages.schedule.run_stages`.
        workers: number of stages that run side by side, at least 1.
        command: command line, for the results.
        progress: receives every second the cost of the stages done and of all stages, with the numbers of stages done
            and running as metrics.
        stop: stop request. Finish: the running stages are completed, and no other is started. Cancel: the caller ends
            the workers at once; the benchmark can be resumed.
        on_stage: callback that receives the name and the result of each stage that has finished.

    Raises:
        RunCancelledError: `stop` requested a cancel.
    """
    stages = stages_of(config, folder)
    results = StageResults(folder / STAGES_FOLDER)
    published = time.monotonic()

    def look(status: StagesStatus) -> None:
        nonlocal published
        if on_stage is not None:
            for name in status.done:
                on_stage(name, results.read(name))
        done = sum(stage.cost * _share(stage, status, results, config, folder) for stage in stages)
        finished = sum(stage.name in results for stage in stages)
        metrics = {"stages_done": finished, "stages_running": len(status.running)}
        note = f"{finished} of {len(stages)}: {', '.join(status.running)}"
        progress(Progress("Benchmark", done, sum(stage.cost for stage in stages), "cost", metrics, note))
        if status.done and time.monotonic() - published >= SECONDS_BETWEEN_RESULTS:
            published = time.monotonic()
            publish(config, folder, command=command)

    return run_stages(stages, results, submit=submit, workers=workers, look=look, stop=stop)


def publish(config: BenchmarkConfig, folder: Path, *, command: str) -> dict[str, Any]:
    """Collect the available results, write ``results.json`` and the report, and return the results."""
    content = collect_results(config, folder, command=command)
    write_json(folder / RESULTS_FILE, content)
    write_report(content, folder)
    return content


def _share(stage: Stage, status: StagesStatus, results: StageResults, config: BenchmarkConfig, folder: Path) -> float:
    """Share of a stage that is done; for a running training, read from its learning curve."""
    if stage.name in results:
        return 1.0
    seeds = [seed for seed in config.training_seeds if training_stage(seed) == stage.name]
    if stage.name not in status.running or not seeds:
        return 0.0
    curve = read_learning_curve(controller_folder(folder, seeds[0]) / CURVE_FILE)
    return min(1.0, curve[-1].step / config.learning_steps) if curve else 0.0
