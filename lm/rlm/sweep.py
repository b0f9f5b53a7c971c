"""Sweeps: runs on random grammars for several values of one parameter, to measure the excess over the optimum."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lm.rlm.config import SweepConfig
from lm.rlm.training import RLMResult, task_of, train_on_grammar
from lm.runs import run_folder
from lm.runs.events import logged
from lm.runs.progress import Progress, Report, ignore
from lm.runs.stop import StopRequest
from lm.runs.whole_file import write_json

RESULTS_FILE = "sweep.json"
GROWING = frozenset({"values", "grammars"})
"""Fields that may grow when a sweep is resumed."""


@dataclass(frozen=True)
class SweepPoint:
    """Result of one run of a sweep."""

    value: float
    """Value of the parameter."""
    grammar: int
    """Seed of the grammar."""
    excess: float
    """Excess of the best model, by test loss, over the optimum [nats per answer]."""
    final_excess: float
    """Excess after the last step [nats per answer]; above `excess` if the model has overfitted."""
    best_step: int
    """Step of the best model."""
    optimum: float
    """Minimum loss: entropy of the exact posteriors [nats per answer]."""
    bigram: float
    """Loss of a model that reads one token [nats per answer]."""
    uniform: float
    """Loss of uniform guesses, ln v [nats]."""


def run_sweep(
    config: SweepConfig,
    output_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> list[SweepPoint]:
    """Train a model for each value and grammar, and write the results to ``output_dir/sweep.json``.

    Args:
        config: configuration of the sweep.
        output_dir: folder of the sweep, with a folder for each run in ``runs/``.
        resume: whether to continue the sweep in the folder; values and grammars may be added.
        overwrite: whether to replace the sweep in the folder.
        progress: receives the progress, in runs; the present run counts by the share of its steps.
        stop: stop request; after a finish request, the finished points are returned.

    Returns:
        A point for each run, value by value.

    Raises:
        OutputExistsError: the folder holds a sweep, and neither `resume` nor `overwrite` is True.
        CheckpointError: the sweep to resume has another configuration.
        InvalidValueError: a value of `config` is out of range.
    """
    for value in config.values:
        task_of(config.run_of(value, config.grammars[0]))  # checked before a claim
    choice: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "adjustable": GROWING}
    with run_folder.claimed(output_dir, "rlm-sweep", config, **choice) as folder:
        return _sweep_in(folder, config, logged(progress, folder), stop)


def _sweep_in(
    folder: Path, config: SweepConfig, progress: Report, stop: StopRequest | None
) -> list[SweepPoint]:
    pairs = [(value, grammar) for value in config.values for grammar in config.grammars]
    points = []
    for done, (value, grammar) in enumerate(pairs):
        run = folder / "runs" / f"{config.parameter}-{value:g}-grammar-{grammar}"
        result = train_on_grammar(
            config.run_of(value, grammar),
            run,
            resume=run.exists(),
            progress=_as_share(progress, done, len(pairs)),
            stop=stop,
        )
        points.append(_point(value, grammar, result))
        write_json(folder / RESULTS_FILE, [asdict(point) for point in points])
        if stop is not None and stop.is_requested:
            break
    return points


def _as_share(progress: Report, done: int, total: int) -> Report:
    """Reports a run of a sweep as a share of it, after `done` of `total` runs."""
    return lambda run: progress(Progress("Sweeping", done + (run.fraction or 0.0), total, "runs", run.metrics))


def _point(value: float, grammar: int, result: RLMResult) -> SweepPoint:
    return SweepPoint(
        value=value,
        grammar=grammar,
        excess=result.best.test.excess,
        final_excess=result.final.test.excess,
        best_step=result.best.step,
        optimum=result.floors.optimum,
        bigram=result.floors.bigram,
        uniform=result.floors.uniform,
    )
