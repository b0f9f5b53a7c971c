"""Phase changes: places of an episode where a gate changes its level, by Welch's t-test of adjacent windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_ind_from_stats

from agents.episodes.episodes import Episodes
from lm.errors import InvalidValueError
from lm.models.gate_names import GATE_NAMES

LEVEL = 0.01
"""Family-wise significance level over all places and gates of an episode."""


@dataclass(frozen=True)
class PhaseChange:
    """A place where a gate changes its level."""

    episode: int
    """Number of the episode."""
    gate: str
    """Name of the gate."""
    place: int
    """First token of the new phase, counted from 0."""
    before: float
    """Mean of the gate in the window before the place."""
    after: float
    """Mean of the gate in the window that starts at the place."""
    t: float | None
    """Welch's t, positive for a rise; None if the gate is constant in both windows (t is infinite)."""
    p: float
    """Two-sided p-value of this place, not corrected for multiple tests."""


@dataclass(frozen=True)
class PhaseChanges:
    """Phase changes of all episodes."""

    window: int
    """Length of a window [tokens]."""
    num_episodes: int
    """Number of episodes with at least two windows of tokens; shorter ones are excluded."""
    per_episode: dict[str, float]
    """Mean number of changes per episode, by gate."""
    shuffled: dict[str, float]
    """Mean number of changes per episode after shuffling its tokens, by gate: the false positive rate."""
    changes: tuple[PhaseChange, ...]
    """All phase changes."""


def phase_changes(episodes: Episodes, window: int = 8, seed: int = 0) -> PhaseChanges:
    """Find the phase changes of every episode.

    Welch's t-test compares the gate in the `window` tokens before a place and the `window` tokens from it on. A place
    is a phase change if p, times the number of places and gates tested in the episode (Bonferroni), is below 0.01, and
    if no place within a window has a larger |t|. The t-test assumes independent tokens, which adjacent tokens are not:
    compare the numbers with those of shuffled episodes.

    Raises:
        InvalidValueError: `window` is below 2.
    """
    if window < 2:
        raise InvalidValueError("window", "must be at least 2 tokens", window)
    gates = episodes.gates.astype(np.float64)
    changes = _find(gates, episodes.lengths, window)
    keys = np.random.default_rng(seed).random(episodes.tokens.shape)
    order = np.where(episodes.is_alive, keys, 2.0).argsort(axis=1)  # padding stays behind the end
    shuffled = _find(np.take_along_axis(gates, order[:, :, None], axis=1), episodes.lengths, window)
    num_episodes = int((episodes.lengths >= 2 * window).sum())

    def per_episode(found: list[PhaseChange]) -> dict[str, float]:
        return {name: sum(change.gate == name for change in found) / max(num_episodes, 1) for name in GATE_NAMES}

    return PhaseChanges(window, num_episodes, per_episode(changes), per_episode(shuffled), tuple(changes))


def welch(values: NDArray[np.float64], window: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Welch's t and its two-sided p between adjacent windows of series (..., T).

    Returns:
        t and p (..., T − 2 window + 1); entry i compares values[i + window : i + 2 window] with values[i : i + window].
        Where both windows are constant, p is 1 if they are equal, and else t is infinite and p 0.
    """
    windows = np.lib.stride_tricks.sliding_window_view(values, window, axis=-1)  # (..., T - window + 1, window)
    means, stds = windows.mean(axis=-1), windows.std(axis=-1, ddof=1)
    before, after = (means[..., :-window], stds[..., :-window]), (means[..., window:], stds[..., window:])
    with np.errstate(invalid="ignore", divide="ignore"):
        t, p = ttest_ind_from_stats(*after, window, *before, window, equal_var=False)
    is_constant = (before[1] == 0) & (after[1] == 0)
    rises = after[0] - before[0]
    t = np.where(is_constant, np.where(rises == 0, 0.0, np.copysign(np.inf, rises)), t)
    return t, np.where(is_constant, np.where(rises == 0, 1.0, 0.0), p)


def _find(gates: NDArray[np.float64], lengths: NDArray[np.int64], window: int) -> list[PhaseChange]:
    if gates.shape[1] < 2 * window:
        return []
    t, p = welch(np.moveaxis(gates, 2, 1), window)  # (E, 3, P)
    num_places = lengths - 2 * window + 1  # (E,)
    is_tested = np.arange(t.shape[2]) < num_places[:, None, None]
    bound = LEVEL / (len(GATE_NAMES) * np.maximum(num_places, 1))
    is_significant = is_tested & (p < bound[:, None, None])
    changes = []
    for episode, gate in np.argwhere(is_significant.any(axis=2)):
        strength = np.where(is_significant[episode, gate], np.abs(t[episode, gate]), -1.0)
        found = []
        while (best := int(strength.argmax())) >= 0 and strength[best] >= 0:
            strength[max(0, best - window) : best + window + 1] = -1.0
            found.append(best)
        for place in sorted(found):
            series, middle = gates[episode, :, gate], place + window
            statistic = float(t[episode, gate, place])
            changes.append(
                PhaseChange(
                    episode=int(episode),
                    gate=GATE_NAMES[gate],
                    place=middle,
                    before=float(series[place:middle].mean()),
                    after=float(series[middle : middle + window].mean()),
                    t=statistic if np.isfinite(statistic) else None,
                    p=float(p[episode, gate, place]),
                )
            )
    return changes
