"""Learned controllers against everybody else on the same episodes: who earns what, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.evaluation import rl_statistics as statistics
from agents.evaluation.intervals import Interval

Kind = Literal["learned", "baseline", "reference"]
"""What is claimed to win, who it has to beat, and who is looked at for orientation."""


@dataclass(frozen=True)
class Contestant:
    """Who took part, and the returns."""

    name: str
    """What tables call it."""
    kind: Kind
    """Its part in the comparison."""
    returns: NDArray[np.float64]
    """(R, E) of R training runs, 1 for who does not learn, in the same E episodes for all; the oracle's may be the
    first few of them."""


@dataclass(frozen=True)
class Score:
    """A contestant's figures."""

    name: str
    """Of the contestant."""
    kind: Kind
    """Its part in the comparison."""
    mean_return: Interval
    """Over all runs and episodes, which are both resampled."""
    interquartile_mean: Interval
    """Of rliable: the mean of the middle half of all returns, stratified bootstrap."""
    runs: tuple[float, ...]
    """Mean return of each run."""
    episodes: int
    """Episodes of each run."""


@dataclass(frozen=True)
class Advantage:
    """What the learned controllers earn more than somebody else in the same episodes."""

    over: str
    """Who."""
    difference: Interval
    """Of the mean returns, paired by episode, over runs and episodes."""
    probability_of_improvement: Interval
    """Of rliable: chance that a learned controller earns more in the same episode."""
    is_apart: bool
    """Whether the lower end of the learned return's interval lies above the upper end of the other's."""


@dataclass(frozen=True)
class GapClosed:
    """How far the learned controllers get from somebody (0) to the oracle (1), on the oracle's episodes."""

    over: str
    """From whom."""
    fraction: Interval
    """Over runs and episodes."""
    runs: tuple[float, ...]
    """Of each run."""
    floor: float
    """Mean return of whom it starts from, in the oracle's episodes."""
    ceiling: float
    """The oracle's mean return."""
    episodes: int
    """Episodes of the oracle."""


@dataclass(frozen=True)
class Comparison:
    """What came out."""

    scores: tuple[Score, ...]
    """Of everybody, the highest mean return first."""
    advantages: tuple[Advantage, ...]
    """Over every baseline, the strongest first; empty without learned controllers."""
    gap_closed: tuple[GapClosed, ...]
    """From the best static gates and, where another baseline is stronger, from that one; empty without an oracle."""


def compare(
    contestants: Sequence[Contestant], *, static: str = "best static", oracle: str = "one-step oracle", seed: int = 0
) -> Comparison:
    """Compare contestants, at most one of them learned.

    Args:
        contestants: as many as there are results of.
        static: name of the baseline that gaps are measured from.
        oracle: name of the reference that gaps are measured to.
        seed: of the resampling.
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
    starts = dict.fromkeys([static, baselines[0].name])  # each once, in this order
    gaps = [_gap_closed(learned, by_name[name], by_name[oracle], seed)
            for name in starts if name in by_name and oracle in by_name]  # fmt: skip
    return Comparison(tuple(scores), advantages, tuple(gap for gap in gaps if gap is not None))


@dataclass(frozen=True)
class FrozenGateCost:
    """What freezing one gate of every controller at its own mean costs."""

    gate: str
    """Which."""
    cost: Interval
    """Return with the moving gate minus that with the frozen one, paired by run and episode, over both."""
    runs: tuple[float, ...]
    """Of each run."""
    episodes: int
    """Episodes of each run."""

    @property
    def is_alive(self) -> bool:
        """Whether the controllers need the gate to move: the interval lies above 0."""
        return self.cost.low > 0


def frozen_gate_costs(
    learned: NDArray[np.float64], frozen: Mapping[str, NDArray[np.float64]], *, seed: int = 0
) -> tuple[FrozenGateCost, ...]:
    """What each gate is worth.

    Args:
        learned: (R, E) returns of the controllers.
        frozen: (R, E) of the same with one gate frozen, by gate.
        seed: of the resampling.
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
