"""Summary statistics of each gate over finished episodes: over all tokens, and by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.episodes.episodes import Episodes
from lm.models.gate_names import GATE_NAMES

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HISTOGRAM_BINS = 20
EDGE = 0.05
"""Distance from 0 or 1 within which a gate counts as closed or open."""
BAND = (0.1, 0.9)
"""Quantiles of the central 80% of episodes."""


@dataclass(frozen=True)
class GateSummary:
    """Summary statistics of one gate over all episodes."""

    mean: float
    """Mean of the gate over tokens."""
    std: float
    """Standard deviation of the gate over tokens."""
    least: float
    """Smallest value of the gate."""
    largest: float
    """Largest value of the gate."""
    quantiles: dict[str, float]
    """Quantiles over tokens by percentage: 5, 25, 50, 75 and 95."""
    histogram: tuple[int, ...]
    """Number of tokens in each of 20 equal bins of [0, 1]."""
    share_closed: float
    """Share of tokens with the gate at 0.05 or below."""
    share_open: float
    """Share of tokens with the gate at 0.95 or above."""
    mean_change: float | None
    """Mean of |g(t) − g(t−1)| over adjacent tokens; None if no episode has two tokens."""
    by_step: tuple[float, ...]
    """(T,) mean at each step, over the episodes that reach it."""
    low_by_step: tuple[float, ...]
    """(T,) 10% quantile at each step."""
    high_by_step: tuple[float, ...]
    """(T,) 90% quantile at each step."""


def summarize_gates(episodes: Episodes) -> dict[str, GateSummary]:
    """Summary of each gate, by gate name."""
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
