"""Comparison of learned controllers with baselines and references on the same episodes, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.evaluation import rl_statistics as statistics
from agents.evaluation.intervals import Interval

Kind = Literal["learned", "baseline", "reference"]
"""Role in a comparison: the learned controllers, a baseline to beat, or a reference."""


@dataclass(frozen=True)
class Contestant:
    """A contestant of a comparison with its returns."""

    name: str
    """Contestant name."""
    kind: Kind
    """Role in the comparison."""
    returns: NDArray[np.float64]
    """(R, E) returns of R training runs (1 without training) in E episodes, the same for all contestants. The oracle
    may have the first episodes only."""


@dataclass(frozen=True)
class Score:
    """Scores of a contestant."""

    name: str
    """Contestant name."""
    kind: Kind
    """Role in the comparison."""
    mean_return: Interval
    """Mean return over runs and episodes; the interval resamples both."""
    interquartile_mean: Interval
    """rliable's interquartile mean of all returns, with stratified bootstrap interval."""
    runs: tuple[float, ...]
    """Mean return of each run."""
    episodes: int
    """Number of episodes of each run."""


@dataclass(frozen=True)
class Advantage:
    """Advantage of the learned controllers over a baseline in the same episodes."""

    over: str
    """Baseline name."""
    difference: Interval
    """Difference of mean returns, paired by episode; the interval resamples runs and episodes."""
    probability_of_improvement: Interval
    """rliable's probability of improvement: probability that a controller has the higher return in the same episode."""
    is_apart: bool
    """Whether the controllers' interval of the mean return lies above the baseline's."""


@dataclass(frozen=True)
class GapClosed:
    """Share of the gap from a baseline (0) to the oracle (1) that the controllers close, on the oracle's episodes."""

    over: str
    """Starting baseline."""
    fraction: Interval
    """Share of the gap; the interval resamples runs and episodes."""
    runs: tuple[float, ...]
    """Share of the gap that each run closes."""
    floor: float
    """Mean return of the starting baseline in the oracle's episodes."""
    ceiling: float
    """Mean return of the oracle."""
    episodes: int
    """Number of the oracle's episodes."""


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison."""

    scores: tuple[Score, ...]
    """Scores of all contestants, the highest mean return first."""
    advantages: tuple[Advantage, ...]
    """Advantages over each baseline, the strongest baseline first; empty without learned controllers."""
    gap_closed: tuple[GapClosed, ...]
    """Gap closed from the best static gates and from a stronger baseline, if there is one; empty without an oracle."""


def compare(
    contestants: Sequence[Contestant], *, static: str = "best static", oracle: str = "one-step oracle", seed: int = 0
) -> Comparison:
    """Compares contestants, at most one of them learned.

    Args:
        contestants: contestants with results.
        static: name of the baseline at the lower end of gaps.
        oracle: name of the reference at the upper end of gaps.
        seed: seed of the resampling.
    """
    scores = sorted((_score(one, seed) for one in contestants), key=lambda score: -score.mean_return.mean)
    by_name = {one.name: one for one in contestants}
    learned = next((one for one in contestants if one.kind == "learned"), None)
    baselines = [score for score in scores if score.kind == "baseline"]
    if learned is None or not baselines:
        return Comparison(tuple(scores), (), ())
    ours = next(score for score in scores if score.kind == "learned")
    advantages = tuple(
        Advantage(
            over=theirs.name,
            difference=statistics.difference_interval(learned.returns, by_name[theirs.name].returns, seed=seed),
            probability_of_improvement=statistics.probability_of_improvement(
                learned.returns, by_name[theirs.name].returns, seed=seed
            ),
            is_apart=ours.mean_return.low > theirs.mean_return.high,
        )
        for theirs in baselines
    )
    starts = dict.fromkeys([static, baselines[0].name])  # unique, in this order
    gaps = [_gap_closed(learned, by_name[name], by_name[oracle], seed)
            for name in starts if name in by_name and oracle in by_name]  # fmt: skip
    return Comparison(tuple(scores), advantages, tuple(gap for gap in gaps if gap is not None))


@dataclass(frozen=True)
class FrozenGateCost:
    """Loss of return when one gate of each controller is frozen at its mean."""

    gate: str
    """Gate name."""
    cost: Interval
    """Return with the free gate minus return with the frozen gate, paired; the interval resamples runs and episodes."""
    runs: tuple[float, ...]
    """Loss of return of each run."""
    episodes: int
    """Number of episodes of each run."""

    @property
    def is_alive(self) -> bool:
        """Whether freezing the gate costs return: the interval lies above 0."""
        return self.cost.low > 0


def frozen_gate_costs(
    learned: NDArray[np.float64], frozen: Mapping[str, NDArray[np.float64]], *, seed: int = 0
) -> tuple[FrozenGateCost, ...]:
    """Loss of return by freezing each gate.

    Args:
        learned: (R, E) returns of the controllers.
        frozen: (R, E) returns of the same controllers with one gate frozen, by gate.
        seed: seed of the resampling.
    """
    return tuple(
        FrozenGateCost(
            gate=gate,
            cost=statistics.difference_interval(learned, returns, seed=seed),
            runs=tuple((learned - returns).mean(axis=1).tolist()),
            episodes=returns.shape[1],
        )
        for gate, returns in frozen.items()
    )


def _score(contestant: Contestant, seed: int) -> Score:
    returns = contestant.returns
    return Score(
        name=contestant.name,
        kind=contestant.kind,
        mean_return=statistics.mean_interval(returns, seed=seed),
        interquartile_mean=statistics.interquartile_mean(returns, seed=seed),
        runs=tuple(returns.mean(axis=1).tolist()),
        episodes=returns.shape[1],
    )


def _gap_closed(learned: Contestant, floor: Contestant, oracle: Contestant, seed: int) -> GapClosed | None:
    best = oracle.returns
    count = best.shape[1]
    ours, theirs = learned.returns[:, :count], floor.returns[:, :count]
    runs = statistics.gap_closed(ours, theirs, best)
    if runs is None:
        return None
    return GapClosed(
        over=floor.name,
        fraction=statistics.gap_closed_interval(ours, theirs, best, seed=seed),
        runs=tuple(runs.tolist()),
        floor=float(theirs.mean()),
        ceiling=float(best.mean()),
        episodes=count,
    )
