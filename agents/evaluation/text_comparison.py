"""Compares the distances to human text of controllers' texts and a baseline's texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.intervals import Interval, jackknife_interval_over_runs


@dataclass(frozen=True)
class Gap:
    """Distance of one run's texts from human texts by one measure."""

    value: float
    """Measure of the texts."""
    human: float
    """Measure of human texts of the same lengths."""
    left_out: NDArray[np.float64]
    """(G,) value − human without each group of texts; see :class:`agents.evaluation.text_measures.Measure`."""


@dataclass(frozen=True)
class TextAdvantage:
    """Comparison of the controllers' and a baseline's texts by one measure."""

    measure: str
    """Measure name."""
    human: float
    """Measure of human text."""
    learned: float
    """Measure of the controllers' texts, mean over runs."""
    baseline: float
    """Measure of the baseline's texts."""
    learned_distance: float
    """|value − human| of the controllers, mean over runs."""
    baseline_distance: float
    """|value − human| of the baseline."""
    difference: Interval
    """Controllers' distance minus the baseline's, with interval; below 0 the controllers are nearer to human text."""

    @property
    def is_nearer(self) -> bool:
        """Whether the controllers are nearer to human text."""
        return self.difference.mean < 0

    @property
    def is_significantly_farther(self) -> bool:
        """Whether the controllers are farther from human text, and the interval excludes 0."""
        return self.difference.low > 0


def compare_texts(measure: str, learned: Sequence[Gap], baseline: Gap) -> TextAdvantage:
    """Compares the mean distance to human text over runs with a baseline's distance.

    The variance is the grouped jackknife's over texts (with the same groups on both sides and in all runs) plus that of
    the mean over runs; Student's t has G − 1 degrees of freedom.

    Args:
        measure: name of the measure.
        learned: gap of each run.
        baseline: gap of the baseline, whose text i has the same prompt and random numbers.
    """
    distances = np.array([abs(gap.value - gap.human) for gap in learned])
    theirs = abs(baseline.value - baseline.human)
    left_out = np.mean([towards_human(gap) for gap in learned], axis=0) - towards_human(baseline)  # (G,)
    return TextAdvantage(
        measure=measure,
        human=baseline.human,
        learned=float(np.mean([gap.value for gap in learned])),
        baseline=baseline.value,
        learned_distance=float(distances.mean()),
        baseline_distance=theirs,
        difference=jackknife_interval_over_runs(distances - theirs, left_out),
    )


def towards_human(gap: Gap) -> NDArray[np.float64]:
    """(G,) distances without each group, with the sign for all texts."""
    return np.sign(gap.value - gap.human) * gap.left_out
