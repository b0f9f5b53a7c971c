"""Is what learned controllers write nearer to human text than what somebody else writes?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.intervals import Interval, jackknife_interval_over_runs


@dataclass(frozen=True)
class Gap:
    """How far one run's texts are from human ones by one measure."""

    value: float
    """The measure of the texts."""
    human: float
    """The measure of human texts of the same lengths."""
    left_out: NDArray[np.float64]
    """(G,) value − human without each group of texts, as :class:`agents.evaluation.text_measures.Measure` has it."""


@dataclass(frozen=True)
class TextAdvantage:
    """One measure of both sides' texts, and whose distance to human text is smaller."""

    measure: str
    """Which."""
    human: float
    """Of human text."""
    learned: float
    """Of the controllers' texts, mean over runs."""
    baseline: float
    """Of the baseline's texts."""
    learned_distance: float
    """|value − human| of the controllers, mean over runs."""
    baseline_distance: float
    """|value − human| of the baseline."""
    difference: Interval
    """The controllers' distance minus the baseline's, over runs and texts; below 0 the controllers are nearer."""

    @property
    def is_nearer(self) -> bool:
        """Whether the controllers are nearer to human text."""
        return self.difference.mean < 0

    @property
    def is_significantly_farther(self) -> bool:
        """Whether the controllers are farther, and the interval leaves out 0."""
        return self.difference.low > 0


def compare_texts(measure: str, learned: Sequence[Gap], baseline: Gap) -> TextAdvantage:
    """Compare the runs' mean distance to human text with a baseline's.

    The variance is the grouped jackknife's over texts (the same groups left out on both sides and in all runs) plus
    that of the mean over runs; Student's t has as many degrees as there are groups, less one.

    Args:
        measure: name of the measure.
        learned: of each run.
        baseline: of the other side, whose text i had the same prompt and random numbers.
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
    """(G,) the distances without each group, on the side of human text that the whole is on."""
    return np.sign(gap.value - gap.human) * gap.left_out
