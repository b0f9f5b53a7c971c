"""The course of a run: one measurement a line, in a file that a killed run leaves readable."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from lm.passed_files import read_lines
from lm.paths import user_path
from lm.rlm.measurement import Measurement
from lm.runs.whole_file import append_json_line, write_json_lines

FILE_NAME = "dynamics.jsonl"


@dataclass(frozen=True)
class DynamicsPoint:
    """A model after so many steps."""

    step: int
    """Optimizer steps done."""
    sentences: int
    """Training sentences seen, repeats counted."""
    learning_rate: float
    """Of the step before; 0 before the first."""
    train: Measurement
    """On training sentences: the first ones of the set, or of the stream."""
    test: Measurement
    """On sentences that are never trained on."""


def append_point(path: Path, point: DynamicsPoint) -> None:
    """Write one line."""
    append_json_line(path, asdict(point))


def read_dynamics(path: str | Path) -> list[DynamicsPoint]:
    """All points; a line that was cut off by a kill is left out.

    Raises:
        CheckpointError: the file is damaged; names the line.
    """
    return read_lines(DynamicsPoint, user_path(path))


def cut_dynamics(path: Path, step: int) -> None:
    """Keep the points up to a step: of what came after, nothing is left in the checkpoint that a run resumes from."""
    write_json_lines(path, [asdict(point) for point in read_dynamics(path) if point.step <= step])
