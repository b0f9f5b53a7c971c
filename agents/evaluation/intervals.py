"""Intervals of figures: by drawing again, and by leaving out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean, or another figure, and its 95% interval."""

    mean: float
    """The figure itself."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap_mean(values: NDArray[np.floating], seed: int = 0) -> Interval:
    """Mean of values (E,) with the 95% percentile bootstrap interval (Efron 1979), 10,000 resamples."""
    generator = np.random.default_rng(seed)
    means = [
        # In blocks: all resamples at once would be 10,000 E numbers.
        values[generator.integers(len(values), size=(500, len(values)))].mean(axis=1)
        for _ in range(RESAMPLES // 500)
    ]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))


def jackknife_interval(value: float, left_out: NDArray[np.floating]) -> Interval:
    """The 95% interval of a figure of observations that fall into G groups: the grouped jackknife.

    Its variance is (G − 1)/G Σ_g (θ_g − mean θ)², and Student's t has G − 1 degrees (Efron and Tibshirani 1993, chapter
    11). Unlike a bootstrap it never takes an observation twice.

    Args:
        value: θ, of all observations.
        left_out: (G,) θ_g, without each group.
    """
    return _student_interval(value, _jackknife_variance(left_out), len(left_out) - 1)


def jackknife_interval_over_runs(values: NDArray[np.floating], left_out: NDArray[np.floating]) -> Interval:
    """The same of a mean over runs, whose variance is added to the jackknife's.

    Args:
        values: (R,) θ of each run; of a single one nothing is known about the others.
        left_out: (G,) the mean over runs, without each group.
    """
    variance = _jackknife_variance(left_out)
    if len(values) > 1:
        variance += values.var(ddof=1) / len(values)
    return _student_interval(float(values.mean()), variance, len(left_out) - 1)


def _jackknife_variance(left_out: NDArray[np.floating]) -> float:
    groups = len(left_out)
    return (groups - 1) / groups * ((left_out - left_out.mean()) ** 2).sum()


def _student_interval(value: float, variance: float, degrees: int) -> Interval:
    reach = float(student_t.ppf(0.975, degrees) * np.sqrt(variance))
    return Interval(value, value - reach, value + reach)
