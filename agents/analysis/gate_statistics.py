"""Gates over the course of an episode, and their correlations with each other and with entropies."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.episodes.episodes import Episodes
from agents.evaluation.intervals import RESAMPLES, Interval, bootstrap_mean
from lm.models.gate_names import GATE_NAMES

QUARTERS = 4


@dataclass(frozen=True)
class Quarter:
    """Means over one quarter of each episode, relative to its length, with 95% bootstrap intervals."""

    number: int
    """Number of the quarter, 1 to 4."""
    num_episodes: int
    """Number of episodes with a token in this quarter."""
    gates: dict[str, Interval]
    """Mean of each gate, by gate name."""
    reward: Interval
    """Mean reward per token."""
    entropy: Interval
    """Mean entropy of the sampling distribution [nats]."""


def quarters(episodes: Episodes, seed: int = 0) -> tuple[Quarter, ...]:
    """The quarters that have tokens. Token t (from 0) of an episode of L tokens is in quarter ⌊4t/L⌋ + 1."""
    places = np.arange(episodes.tokens.shape[1])
    number = QUARTERS * places // episodes.lengths[:, None]  # (E, T)
    found = []
    for quarter in range(QUARTERS):
        is_in = episodes.is_alive & (number == quarter)
        counts = is_in.sum(axis=1)
        has_any = counts > 0
        if not has_any.any():
            continue

        def mean(values: NDArray[np.floating], is_in: NDArray[np.bool_] = is_in) -> Interval:
            sums, counts = (values * is_in).sum(axis=1, dtype=np.float64), is_in.sum(axis=1)
            return bootstrap_mean(sums[counts > 0] / counts[counts > 0], seed)

        found.append(
            Quarter(
                number=quarter + 1,
                num_episodes=int(has_any.sum()),
                gates={name: mean(episodes.gates[:, :, gate]) for gate, name in enumerate(GATE_NAMES)},
                reward=mean(episodes.rewards),
                entropy=mean(episodes.infos["entropy"]),
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of two quantities over all tokens."""

    first: str
    """First quantity: a gate."""
    second: str
    """Second quantity: another gate, or an entropy."""
    value: float | None
    """Pearson's r; None if a quantity does not vary."""
    low: float | None
    """Lower end of the 95% interval of a bootstrap over episodes, since tokens of an episode are dependent."""
    high: float | None
    """Upper end of the 95% interval."""


def correlations(episodes: Episodes, seed: int = 0) -> tuple[Correlation, ...]:
    """Correlations of the gates with each other and with the infos `entropy` and `neutral_entropy`, if available."""
    gates = {name: episodes.gates[:, :, gate].astype(np.float64) for gate, name in enumerate(GATE_NAMES)}
    entropies = {name: episodes.infos[name] for name in ("entropy", "neutral_entropy") if name in episodes.infos}
    pairs = [*itertools.combinations(gates.items(), 2), *itertools.product(gates.items(), entropies.items())]
    found = []
    for (first, x), (second, y) in pairs:
        value, low, high = correlation(x, y, episodes.is_alive, seed)
        found.append(Correlation(first, second, value, low, high))
    return tuple(found)


def correlation(
    x: NDArray[np.float64], y: NDArray[np.float64], is_alive: NDArray[np.bool_], seed: int = 0
) -> tuple[float | None, float | None, float | None]:
    """Pearson's r of two quantities (E, T) over the tokens that are alive (E, T), and its 95% bootstrap interval.

    Whole episodes are resampled, 10,000 times. All three are None where one quantity does not vary.
    """
    x, y = (np.where(is_alive, values - values[is_alive].mean(), 0.0) for values in (x, y))  # for numerical accuracy
    moments = np.stack([part.sum(axis=1) for part in (is_alive, x, y, x * x, y * y, x * y)], axis=1)  # (E, 6)
    value = _pearson(moments.sum(axis=0))
    if np.isnan(value):
        return None, None, None
    generator = np.random.default_rng(seed)
    episodes = len(moments)
    even = np.full(episodes, 1 / episodes)
    drawn = [generator.multinomial(episodes, even, size=500) @ moments for _ in range(RESAMPLES // 500)]
    low, high = np.nanquantile(_pearson(np.concatenate(drawn)), (0.025, 0.975))
    return float(value), float(low), float(high)


def _pearson(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """r (...) from the sums (..., 6) of 1, x, y, x², y² and xy; NaN where one does not vary."""
    count, x, y, xx, yy, xy = np.moveaxis(moments, -1, 0)
    variance = (xx - x * x / count) * (yy - y * y / count)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (xy - x * y / count) / np.sqrt(variance)
    return np.where(variance > 1e-20 * count**2, r, np.nan)
