"""The running statistics that observations are normalised with, as plain JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RunningStatistics:
    """Mean and variance of what was seen so far, of an observation or of a scalar."""

    mean: NDArray[np.float64]
    """Mean of each entry."""
    variance: NDArray[np.float64]
    """Population variance of each entry."""
    count: float
    """How many were seen."""

    @classmethod
    def of(cls, running: Any) -> RunningStatistics:
        """From SB3's ``RunningMeanStd``."""
        return cls(np.array(running.mean, float), np.array(running.var, float), float(running.count))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RunningStatistics:
        """From what :meth:`to_json` gave. Raises KeyError or ValueError if it is something else."""
        return cls(np.array(content["mean"], float), np.array(content["variance"], float), float(content["count"]))

    def to_json(self) -> dict[str, Any]:
        """As numbers and lists; 64-bit floats survive JSON exactly."""
        return {"mean": self.mean.tolist(), "variance": self.variance.tolist(), "count": self.count}

    def restore(self, running: Any) -> None:
        """Put these statistics into SB3's ``RunningMeanStd``."""
        running.mean, running.var, running.count = self.mean.copy(), self.variance.copy(), self.count


@dataclass(frozen=True)
class ObservationNormalizer:
    """What ``VecNormalize`` does to observations: clip((x - mean) / sqrt(variance + epsilon), ±clip)."""

    statistics: RunningStatistics
    """Of each entry of the observation."""
    epsilon: float
    """Added to the variance."""
    clip: float
    """Largest absolute value that comes out."""

    def normalize(self, observations: NDArray[np.floating]) -> NDArray[np.float32]:
        """Normalise observations (N, size)."""
        scale = np.sqrt(self.statistics.variance + self.epsilon)
        return np.clip((observations - self.statistics.mean) / scale, -self.clip, self.clip).astype(np.float32)
