"""Running statistics for the normalisation of observations, stored as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.errors import InvalidValueError


@dataclass(frozen=True)
class RunningStatistics:
    """Running mean and variance of an observation or a scalar."""

    mean: NDArray[np.float64]
    """Mean of each entry."""
    variance: NDArray[np.float64]
    """Population variance of each entry."""
    count: float
    """Number of samples."""

    @classmethod
    def of(cls, running: Any) -> RunningStatistics:
        """Statistics of an SB3 ``RunningMeanStd``."""
        return cls(np.array(running.mean, float), np.array(running.var, float), float(running.count))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RunningStatistics:
        """Statistics from the result of :meth:`to_json`. Raises KeyError or ValueError for other content."""
        return cls(np.array(content["mean"], float), np.array(content["variance"], float), float(content["count"]))

    def to_json(self) -> dict[str, Any]:
        """The statistics as numbers and lists; JSON preserves 64-bit floats exactly."""
        return {"mean": self.mean.tolist(), "variance": self.variance.tolist(), "count": self.count}

    def restore(self, running: Any) -> None:
        """Copies these statistics into an SB3 ``RunningMeanStd``."""
        running.mean, running.var, running.count = self.mean.copy(), self.variance.copy(), self.count


@dataclass(frozen=True)
class ObservationNormalizer:
    """Normalises observations as ``VecNormalize``: clip((x - mean) / sqrt(variance + epsilon), ±clip)."""

    statistics: RunningStatistics
    """Running statistics of each entry of the observation."""
    epsilon: float
    """Constant added to the variance."""
    clip: float
    """Maximum absolute value after normalisation."""

    def normalize(self, observations: NDArray[np.floating]) -> NDArray[np.float32]:
        """Normalises observations (N, size)."""
        scale = np.sqrt(self.statistics.variance + self.epsilon)
        return np.clip((observations - self.statistics.mean) / scale, -self.clip, self.clip).astype(np.float32)


@dataclass(frozen=True)
class StatisticsFile:
    """Content of a controller's ``observation_statistics.json``."""

    mean: tuple[float, ...]
    """Mean of each entry."""
    variance: tuple[float, ...]
    """Population variance of each entry, at least 0."""
    count: float
    """Number of observations, at least 0."""
    epsilon: float
    """Constant added to the variance, above 0."""
    clip: float
    """Maximum absolute value after normalisation, above 0."""

    def __post_init__(self) -> None:
        if min((*self.variance, self.count)) < 0:
            raise InvalidValueError("variance", "and `count` must be at least 0", min((*self.variance, self.count)))
        for name in ("epsilon", "clip"):
            if getattr(self, name) <= 0:
                raise InvalidValueError(name, "must be above 0", getattr(self, name))

    def normalizer(self) -> ObservationNormalizer:
        """The normaliser with these statistics."""
        statistics = RunningStatistics(np.array(self.mean), np.array(self.variance), self.count)
        return ObservationNormalizer(statistics, self.epsilon, self.clip)
