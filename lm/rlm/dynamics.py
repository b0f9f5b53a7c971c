"""The dynamics file of a run: one measurement per line, readable after a kill."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from lm.errors import CheckpointError
from lm.passed_files import read_lines
from lm.paths import user_path
from lm.rlm.measurement import Measurement
from lm.runs.whole_file import append_json_line, write_json_lines

FILE_NAME = "dynamics.jsonl"


@dataclass(frozen=True)
class DynamicsPoint:
    """Measurement of a model after a number of steps."""

    step: int
    """Number of optimizer steps."""
    sentences: int
    """Number of training sentences seen, repeats included."""
    learning_rate: float
    """Learning rate of the last step; 0 before the first."""
    train: Measurement
    """Measurement on training sentences: the first ones of the set or stream."""
    test: Measurement
    """Measurement on test sentences."""


def append_point(path: Path, point: DynamicsPoint) -> None:
    """Appends a point as a line."""
    append_json_line(path, asdict(point))


def read_dynamics(path: str | Path) -> list[DynamicsPoint]:
    """All points; a line that was cut off by a kill is left out.

    Raises:
        CheckpointError: the file is damaged; names the line.
    """
    return read_lines(DynamicsPoint, user_path(path))


def cut_dynamics(path: Path, step: int) -> None:
    """Removes the points after `step`, which a run resumed from the checkpoint of that step writes again.

    Raises:
        CheckpointError: the file is damaged, or lacks the point of `step`; it is left as it is.
    """
    points = [point for point in read_dynamics(path) if point.step <= step]
    if not points or points[-1].step < step:
        raise CheckpointError(f"{path} is damaged: it lacks the point of the checkpoint at step {step}.")
    write_json_lines(path, [asdict(point) for point in points])
