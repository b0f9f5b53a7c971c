"""The running statistics that observations are normalised with, as plain JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.errors import InvalidValueError


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


@dataclass(frozen=True)
class StatisticsFile:
    """Content of a controller's file of statistics."""

    mean: tuple[float, ...]
    """Mean of each entry."""
    variance: tuple[float, ...]
    """Population variance of each entry, at least 0."""
    count: float
    """How many observations were seen, at least 0."""
    epsilon: float
    """Added to the variance, above 0."""
    clip: float
    """Largest absolute value that comes out, above 0."""

    def __post_init__(self) -> None:
        if min((*self.variance, self.count)) < 0:
            raise InvalidValueError("variance", "and `count` must be at least 0", min((*self.variance, self.count)))
        for name in ("epsilon", "clip"):
            if getattr(self, name) <= 0:
                raise InvalidValueError(name, "must be above 0", getattr(self, name))

    def normalizer(self) -> ObservationNormalizer:
        """What the statistics are for."""
        statistics = RunningStatistics(np.array(self.mean), np.array(self.variance), self.count)
        return ObservationNormalizer(statistics, self.epsilon, self.clip)
