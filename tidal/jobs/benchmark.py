"""The jobs of the benchmark: all of it, and one of its stages."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from agents.episodes.episodes import require_series
from agents.evaluation.text_measures import require_measurable
from lm.errors import InvalidValueError
from lm.extras import require_extra
from lm.runs.events import EVENTS_FILE, EventLog, logged
from lm.runs.progress import Report, ignore
from lm.runs.record import command_of_process
from lm.runs.stop import StopRequest
from tidal.benchmark.config import BenchmarkConfig, BenchmarkStageConfig
from tidal.benchmark.report import REPORT_FILE
from tidal.benchmark.run import RESULTS_FILE, claimed_folder, publish, run_benchmark
from tidal.benchmark.stages import STAGES_FOLDER, stages_of
from tidal.jobs.executors import Executor, ProcessPool
from tidal.jobs.registry import Job, JobResult
from tidal.stages.schedule import Stage
from tidal.stages.stage_results import StageResults


def benchmark(
    config: BenchmarkConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Run the unfinished stages in worker processes, and write results and report; details: the results.

    The figures hold the claims with their evidence, and the error messages of failed stages by name.

    Raises:
        MissingExtraError: the extra `eval` or `tune` is not installed.
    """
    require_extra("rliable", "eval", "The benchmark")  # fail now rather than in an hour
    if config.decoders:
        require_extra("optuna", "tune", "Tuning decoders")
    env = config.training.env
    require_series(config.episodes, config.evaluation_seed, env.max_episode_steps)
    vector_env = env.make(1)  # a missing model also fails now
    if config.text_episodes > 0:
        require_measurable(config.text, vector_env.unwrapped.bundle)
    vector_env.close()
    claim = claimed_folder(config, folder, resume=resume, overwrite=overwrite)
    with claim as folder, ProcessPool(config.workers) as pool:
        log = EventLog(folder / EVENTS_FILE)
        failures = run_benchmark(
            config,
            folder,
            submit=submitting(pool, config, folder),
            workers=pool.workers,
            command=command_of_process(),
            progress=logged(progress, folder),
            stop=stop,
            on_stage=lambda name, result: log.append("stage", stage=name, seconds=result["seconds"]),
        )
        results = publish(config, folder, command=command_of_process())
    return _result(results, folder, failures)


def report_only(config: BenchmarkConfig, folder: Path) -> JobResult:
    """Write results and report from the stages that are finished, and run none; as :func:`benchmark` otherwise."""
    require_extra("rliable", "eval", "The benchmark")
    with claimed_folder(config, folder, resume=True, overwrite=False) as folder:
        return _result(publish(config, folder, command=command_of_process()), folder, {})


def benchmark_stage(
    config: BenchmarkStageConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Run a stage in the folder of its benchmark, which holds what the stage needs, and write its result.

    The benchmark's own process holds the folder meanwhile.

    Raises:
        InvalidValueError: the benchmark has no stage of this name.
    """
    stages = {stage.name: stage for stage in stages_of(config.benchmark, folder)}
    if config.stage not in stages:
        raise InvalidValueError("stage", f"must be a stage of the benchmark: {', '.join(stages)}", config.stage)
    results = StageResults(folder / STAGES_FOLDER)
    stages[config.stage].run(results)
    return JobResult(results.read(config.stage))


def submitting(executor: Executor, config: BenchmarkConfig, folder: Path) -> Callable[[Stage], Future[Any]]:
    """The function that starts a stage of the benchmark in `folder` on an executor."""
    return lambda stage: executor.submit(
        Job("benchmark-stage", BenchmarkStageConfig(config, stage.name), folder)
    ).future


def _result(results: dict[str, Any], folder: Path, failures: dict[str, str]) -> JobResult:
    figures = {"claims": results["claims"], "failures": failures}
    return JobResult(figures, {"results": folder / RESULTS_FILE, "report": folder / REPORT_FILE}, results)
