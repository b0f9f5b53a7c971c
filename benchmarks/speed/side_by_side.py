"""Measures contenders in turn, in one process and repeatedly, so that a noisy machine affects all equally."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Contender = Callable[[], "int | tuple[int, float]"]
"""A contender's run; returns its units of work, and the seconds if only part of the run counts."""


@dataclass(frozen=True)
class Speed:
    """Units of work per second of one contender."""

    per_second: list[float]
    """Speed in each repeat."""

    @property
    def median(self) -> float:
        """Median over the repeats."""
        return float(np.median(self.per_second))

    @property
    def spread(self) -> tuple[float, float]:
        """Minimum and maximum over the repeats."""
        return min(self.per_second), max(self.per_second)


def measure(contenders: Mapping[str, Contender], repeats: int) -> dict[str, Speed]:
    """Runs each contender once as a warm-up, then all in turns, `repeats` times."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            gc.collect()
            start = time.perf_counter()
            done = run()
            units, seconds = done if isinstance(done, tuple) else (done, time.perf_counter() - start)
            if repeat:
                figures[name].append(units / seconds)
    return {name: Speed(values) for name, values in figures.items()}


def ratio(speeds: Mapping[str, Speed], name: str, reference: str) -> float:
    """Median over the repeats of the speed of `name` divided by that of `reference`."""
    pairs = zip(speeds[name].per_second, speeds[reference].per_second, strict=True)
    return float(np.median([ours / theirs for ours, theirs in pairs]))
