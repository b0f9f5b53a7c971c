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
from tidal.jobs.stage_results import StageResults
from tidal.jobs.stages import Stage, StagesStatus, run_stages

RESULTS_FILE = "results.json"
EXTENSIBLE = frozenset({"seeds", "decoders"})
"""Fields that may grow when a benchmark is taken up again: every seed and every decoder is a stage of its own."""
SECONDS_BETWEEN_RESULTS = 300.0
"""How often results are put together while stages run."""

Update = Callable[..., None]
"""``update(done, total, note)``."""


@contextmanager
def claimed_folder(config: BenchmarkConfig, output: str | Path, *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Make a benchmark's folder, or take up the benchmark that it holds, and hold it until the block ends.

    The benchmark may get more seeds and decoders when it is taken up.

    Raises:
        OutputExistsError: the folder is not empty, and neither `resume` nor `overwrite` is True.
        CheckpointError: to be resumed, but with another configuration; names what differs.
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
    """Run the stages that are not done yet, and return what went wrong by stage.

    The folder gets ``run.json``, ``stages/`` (a JSON file for each stage, as soon as it is done) and
    ``controllers/`` (the training runs). A stage that was interrupted begins anew, a training from its last checkpoint.

    Args:
        config: what to run.
        folder: of the benchmark, see :func:`claimed_folder`.
        workers: processes that stages run in, at least 1.
        update: is told how much is done, of how much, and what is being worked on.
        tell: is told each stage that ends, with its result.
        publish: is called now and then while stages run, to show what there is.

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
    """Put together what there is, write ``results.json`` and return its content."""
    content = collect_results(config, folder, command=command)
    write_json(folder / RESULTS_FILE, content)
    return content


def _share(stage: Stage, status: StagesStatus, results: StageResults, config: BenchmarkConfig, folder: Path) -> float:
    """How much of a stage is done; of a training that runs, as its learning curve says."""
    if stage.name in results:
        return 1.0
    seeds = [seed for seed in config.training_seeds if training_stage(seed) == stage.name]
    if stage.name not in status.running or not seeds:
        return 0.0
    curve = read_learning_curve(controller_folder(folder, seeds[0]) / CURVE_FILE)
    return min(1.0, curve[-1].step / config.learning_steps) if curve else 0.0
