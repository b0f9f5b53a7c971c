"""Progress of a run: one record for all kinds of jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """Progress of a stage of a run, with its newest metrics."""

    stage: str
    """Name of the stage for display, such as "Pretraining" or "Tuning min-p"."""
    done: float
    """Units done so far, at least 0."""
    total: float | None = None
    """Units in all; None where the number is unknown."""
    unit: str = "steps"
    """Unit of `done` and `total`: "steps", "env steps", "episodes", "stages"."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Newest metrics by name: losses in nats, rates per second, gates in [0, 1]."""
    note: str = ""
    """What is being done, where the stage alone does not say it: "3 of 20 stages: training-0, tuning-edt"."""

    @property
    def fraction(self) -> float | None:
        """Share that is done, in [0, 1]; None where the total is unknown."""
        return None if not self.total else min(1.0, self.done / self.total)


Report = Callable[[Progress], None]
"""Receives the progress of a run. It is called from the thread that works, and must return quickly."""


def ignore(progress: Progress) -> None:
    """Receives progress and does nothing with it."""
