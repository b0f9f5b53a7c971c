"""The benchmark: learned controllers against tuned baselines and the oracle, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.training.learning_curve import read_learning_curve
from agents.training.run import CURVE_FILE
from lm.errors import InvalidValueError
from lm.runs.run_folder import claimed
from lm.runs.whole_file import write_json
from tidal.benchmark.config import BenchmarkConfig
from tidal.benchmark.results import collect_results
from tidal.benchmark.stages import STAGES_FOLDER, controller_folder, stages_of, training_stage
from tidal.stages.stage_results import StageResults
from tidal.stages.worker_processes import Stage, StagesStatus, run_stages

RESULTS_FILE = "results.json"
EXTENSIBLE = frozenset({"seeds", "decoders"})
"""Fields that may grow when a benchmark is resumed: each seed and each decoder is a stage of its own."""
SECONDS_BETWEEN_RESULTS = 300.0
"""Interval between two updates of the results while stages run [s]."""

Update = Callable[..., None]
"""``update(done, total, note)``."""


@contextmanager
def claimed_folder(config: BenchmarkConfig, output: str | Path, *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Create a benchmark's folder, or resume the benchmark in it, and lock the folder until the block ends.

    A resumed benchmark may have additional seeds and decoders.

    Raises:
        OutputExistsError: the folder is not empty, and neither `resume` nor `overwrite` is True.
        CheckpointError: `resume` is True and the configuration differs; names the difference.
    """
    with claimed(output, "benchmark", config, resume=resume, overwrite=overwrite, adjustable=EXTENSIBLE) as folder:
        yield folder


def run_benchmark(
    config: BenchmarkConfig,
    folder: Path,
    *,
    workers: int,
    update: Update,
    tell: Callable[[str, dict[str, Any]], None],
    publish: Callable[[], object],
) -> dict[str, str]:
    """Run the stages that are not done yet, and return the failures by stage.

    Writes ``run.json``, ``stages/`` (a JSON file for each finished stage) and ``controllers/`` (the training runs) into
    the folder. An interrupted stage starts again; an interrupted training continues from its last checkpoint.

    Args:
        config: configuration of the benchmark.
        folder: folder of the benchmark, see :func:`claimed_folder`.
        workers: number of worker processes, at least 1.
        update: callback that receives the work done, the total work and the running stages.
        tell: callback that receives each finished stage with its result.
        publish: callback that is called regularly while stages run, to update the results.

    Raises:
        InvalidValueError: `workers` is below 1.
    """
    if workers < 1:
        raise InvalidValueError("workers", "must be at least 1", workers)
    stages = stages_of(config, folder)
    results = StageResults(folder / STAGES_FOLDER)
    published = time.monotonic()

    def look(status: StagesStatus) -> None:
        nonlocal published
        for name in status.done:
            tell(name, results.read(name))
        done = sum(stage.cost * _share(stage, status, results, config, folder) for stage in stages)
        finished = sum(stage.name in results for stage in stages)
        update(done, sum(stage.cost for stage in stages), f"{finished} of {len(stages)}: {', '.join(status.running)}")
        if status.done and time.monotonic() - published >= SECONDS_BETWEEN_RESULTS:
            published = time.monotonic()
            publish()

    return run_stages(stages, results, workers=workers, look=look)


def write_results(config: BenchmarkConfig, folder: Path, *, command: str) -> dict[str, Any]:
    """Collect the available results, write ``results.json`` and return its content."""
    content = collect_results(config, folder, command=command)
    write_json(folder / RESULTS_FILE, content)
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
