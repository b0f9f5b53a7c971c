"""How each gate was set in finished episodes: over all tokens, and at each place of an episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.episodes.episodes import Episodes
from lm.models.gate_names import GATE_NAMES

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HISTOGRAM_BINS = 20
EDGE = 0.05
"""How near 0 or 1 a gate counts as closed or open."""
BAND = (0.1, 0.9)
"""Quantiles between which four of five episodes lie."""


@dataclass(frozen=True)
class GateSummary:
    """One gate in all episodes."""

    mean: float
    """Mean over tokens."""
    std: float
    """Standard deviation over tokens."""
    least: float
    """Smallest value."""
    largest: float
    """Largest value."""
    quantiles: dict[str, float]
    """Over tokens, by percentage: 5, 25, 50, 75 and 95."""
    histogram: tuple[int, ...]
    """Tokens in each of 20 equal parts of [0, 1]."""
    share_closed: float
    """Share of tokens with the gate at 0.05 or below."""
    share_open: float
    """Share of tokens with the gate at 0.95 or above."""
    mean_change: float | None
    """Mean of |g(t) − g(t−1)| from one token of an episode to the next; None if no episode has two."""
    by_step: tuple[float, ...]
    """(T,) mean at each place of an episode, over the episodes that reach it."""
    low_by_step: tuple[float, ...]
    """(T,) 10% quantile at each place."""
    high_by_step: tuple[float, ...]
    """(T,) 90% quantile at each place."""


def summarize_gates(episodes: Episodes) -> dict[str, GateSummary]:
    """The summary of each gate, by its name."""
    is_alive = episodes.is_alive
    gates = episodes.gates.astype(np.float64)
    used = gates[is_alive]  # (M, 3)
    changes = np.abs(np.diff(gates, axis=1))[is_alive[:, 1:]]
    by_step = (gates * is_alive[:, :, None]).sum(axis=0) / is_alive.sum(axis=0)[:, None]  # (T, 3)
    low, high = np.nanquantile(np.where(is_alive[:, :, None], gates, np.nan), BAND, axis=0)
    return {
        name: GateSummary(
            mean=float(values.mean()),
            std=float(values.std()),
            least=float(values.min()),
            largest=float(values.max()),
            quantiles={f"{100 * level:g}": float(np.quantile(values, level)) for level in QUANTILES},
            histogram=tuple(np.histogram(values, HISTOGRAM_BINS, (0.0, 1.0))[0].tolist()),
            share_closed=float((values <= EDGE).mean()),
            share_open=float((values >= 1 - EDGE).mean()),
            mean_change=float(changes[:, gate].mean()) if len(changes) else None,
            by_step=tuple(by_step[:, gate].tolist()),
            low_by_step=tuple(low[:, gate].tolist()),
            high_by_step=tuple(high[:, gate].tolist()),
        )
        for gate, (name, values) in enumerate(zip(GATE_NAMES, used.T, strict=True))
    }
