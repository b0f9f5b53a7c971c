"""Bootstrap and jackknife confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean or another statistic with its 95% interval."""

    mean: float
    """Value of the statistic."""
    low: float
    """Lower end of the 95% interval."""
    high: float
    """Upper end of the 95% interval."""

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap_mean(values: NDArray[np.floating], seed: int = 0) -> Interval:
    """Mean of values (E,) with its 95% percentile bootstrap interval (Efron 1979), 10,000 resamples."""
    generator = np.random.default_rng(seed)
    means = [
        # In blocks, since all resamples at once would need 10,000 E numbers.
        values[generator.integers(len(values), size=(500, len(values)))].mean(axis=1)
        for _ in range(RESAMPLES // 500)
    ]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))


def jackknife_interval(value: float, left_out: NDArray[np.floating]) -> Interval:
    """95% interval of a statistic of observations in G groups, by the grouped jackknife.

    The variance is (G − 1)/G Σ_g (θ_g − mean θ)², and Student's t has G − 1 degrees of freedom (Efron and Tibshirani
    1993, chapter 11). Unlike a bootstrap, it never repeats an observation.

    Args:
        value: θ, statistic of all observations.
        left_out: (G,) θ_g, statistic without group g.
    """
    return _student_interval(value, _jackknife_variance(left_out), len(left_out) - 1)


def jackknife_interval_over_runs(values: NDArray[np.floating], left_out: NDArray[np.floating]) -> Interval:
    """95% interval of a mean over runs: adds the variance over runs to the jackknife's variance.

    Args:
        values: (R,) θ of each run; for a single run the variance over runs is unknown and omitted.
        left_out: (G,) mean over runs without group g.
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
