"""The jobs that train language models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lm.carl.training.config import CarlTrainConfig
from lm.pretraining.config import PretrainConfig
from lm.rlm.config import RLMConfig, SweepConfig
from lm.runs.progress import Report, ignore
from lm.runs.stop import StopRequest
from tidal.jobs.registry import JobResult


def pretrain(
    config: PretrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Train a language model on text; details: :class:`lm.pretraining.run.PretrainResult`."""
    from lm.pretraining.run import pretrain

    result = pretrain(config, folder, resume=resume, overwrite=overwrite, progress=progress, stop=stop)
    figures = {"num_parameters": result.num_parameters, "steps": result.steps, "validation": asdict(result.validation)}
    return JobResult(figures, {"model": result.model_folder}, result)


def carl_train(
    config: CarlTrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Train a language model with coherence rewards; details: :class:`lm.carl.training.run.CarlTrainResult`."""
    from lm.carl.training.run import train

    result = train(config, folder, resume=resume, overwrite=overwrite, progress=progress, stop=stop)
    return JobResult({"sft": result.sft, "grpo": result.grpo}, {"model": result.model_folder}, result)


def rlm_train(
    config: RLMConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Train a model on a random grammar and plot its learning; details: :class:`lm.rlm.training.RLMResult`."""
    from lm.rlm.dynamics import FILE_NAME, read_dynamics
    from lm.rlm.training import train_on_grammar
    from tidal.reports.rlm_figures import dynamics_figure, save_figure

    result = train_on_grammar(config, folder, resume=resume, overwrite=overwrite, progress=progress, stop=stop)
    plot = folder / "dynamics.png"
    save_figure(dynamics_figure(read_dynamics(folder / FILE_NAME), result.floors), plot)
    figures = {
        "num_parameters": result.num_parameters,
        "steps": result.final.step,
        "best_step": result.best.step,
        "test": asdict(result.best.test),
        "floors": asdict(result.floors),
    }
    return JobResult(figures, {"model": result.model_folder, "plot": plot}, result)


def rlm_sweep(
    config: SweepConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Train models for each value of a parameter and plot their excess; details: a list of points.

    The figures hold mean, least and greatest excess [nats] for each value.
    """
    from lm.rlm.sweep import RESULTS_FILE, run_sweep
    from tidal.reports.rlm_figures import save_figure, sweep_figure

    points = run_sweep(config, folder, resume=resume, overwrite=overwrite, progress=progress, stop=stop)
    plot = folder / "sweep.png"
    save_figure(sweep_figure(points, config.parameter), plot)
    excesses: dict[str, Any] = {}
    for value in config.values:
        found = [point.excess for point in points if point.value == value]
        if found:  # a sweep that was asked to finish has no points for its last values
            excesses[f"{value:g}"] = {"mean": float(np.mean(found)), "min": min(found), "max": max(found)}
    return JobResult({"excess": excesses}, {"results": folder / RESULTS_FILE, "plot": plot}, points)
