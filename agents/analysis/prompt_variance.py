"""Share of the variance between episodes that is due to their prompts, by a one-way random effects model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.episodes.episodes import Episodes
from agents.evaluation.intervals import RESAMPLES
from lm.models.gate_names import GATE_NAMES


@dataclass(frozen=True)
class VarianceShare:
    """Variance components of a figure of episodes: between and within prompts."""

    between: float
    """Variance between prompts."""
    within: float
    """Variance between episodes with the same prompt."""
    share: float | None
    """between / (between + within), the intraclass correlation; None if nothing varies."""
    low: float | None
    """Lower end of the share's 95% interval, by a bootstrap over prompts."""
    high: float | None
    """Upper end of the share's 95% interval."""


@dataclass(frozen=True)
class PromptFigures:
    """Figures of the episodes with the same prompt."""

    text: str
    """Text of the prompt."""
    num_episodes: int
    """Number of episodes with this prompt."""
    mean_return: float
    """Mean return of these episodes."""
    gates: dict[str, float]
    """Mean over episodes of each gate's mean in an episode, by gate name."""


@dataclass(frozen=True)
class PromptVariance:
    """Differences between prompts with several episodes each."""

    prompts: tuple[PromptFigures, ...]
    """Figures of each prompt, the best return first."""
    shares: dict[str, VarianceShare | None]
    """Variance shares of ``return`` and of each gate's mean; None with fewer than two prompts, or without repeats."""


def prompt_variance(episodes: Episodes, texts: dict[tuple[int, ...], str], seed: int = 0) -> PromptVariance:
    """Compare the prompts of episodes.

    Args:
        episodes: episodes with repeated prompts.
        texts: texts of the prompts by their token ids.
        seed: seed of the bootstrap.
    """
    prompts = sorted(set(episodes.prompts))
    groups = np.array([prompts.index(prompt) for prompt in episodes.prompts])
    gates = (episodes.gates * episodes.is_alive[:, :, None]).sum(axis=1, dtype=np.float64) / episodes.lengths[:, None]
    figures = {"return": episodes.returns, **dict(zip(GATE_NAMES, gates.T, strict=True))}
    shares = {name: variance_share(values, groups, seed) for name, values in figures.items()}
    found = [
        PromptFigures(
            text=texts[prompt],
            num_episodes=int((groups == group).sum()),
            mean_return=float(episodes.returns[groups == group].mean()),
            gates={name: float(figures[name][groups == group].mean()) for name in GATE_NAMES},
        )
        for group, prompt in enumerate(prompts)
    ]
    return PromptVariance(tuple(sorted(found, key=lambda one: -one.mean_return)), shares)


def variance_share(values: NDArray[np.float64], groups: NDArray[np.int64], seed: int = 0) -> VarianceShare | None:
    """Variance components of values (E,) that belong to groups (E,), numbered 0 to k − 1, by the method of moments.

    With n_i values in group i, N in all and the mean squares MSB between and MSW within groups:

        within = MSW,   between = max(0, (MSB − MSW)/n₀),   n₀ = (N − Σ n_i²/N)/(k − 1)

    Source: Searle, Casella and McCulloch, Variance Components (1992), chapter 3. None with fewer than two groups, or no
    group of two.
    """
    counts = np.bincount(groups).astype(np.float64)
    if len(counts) < 2 or len(values) == len(counts):
        return None
    values = values - values.mean()  # for numerical accuracy
    sums = np.bincount(groups, values)
    within = np.bincount(groups, (values - (sums / counts)[groups]) ** 2)
    moments: NDArray[np.float64] = np.stack((counts, counts**2, sums, sums**2 / counts, within), axis=1)  # (k, 5)
    between, inside = _components(moments.sum(axis=0), len(counts))
    if between + inside < 1e-20:
        return VarianceShare(float(between), float(inside), None, None, None)
    generator = np.random.default_rng(seed)
    even = np.full(len(counts), 1 / len(counts))
    weights = generator.multinomial(len(counts), even, size=RESAMPLES).astype(np.float64)
    parts = _components(weights @ moments, len(counts))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = parts[0] / (parts[0] + parts[1])
    low, high = np.nanquantile(shares, (0.025, 0.975))
    return VarianceShare(float(between), float(inside), float(between / (between + inside)), float(low), float(high))


def _components(moments: NDArray[np.float64], num_groups: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance between and within groups, from sums (..., 5) over groups of n, n², Σx, (Σx)²/n and squares within."""
    count, squared_counts, total, group_squares, within = np.moveaxis(moments, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may consist of groups of size one
        mean_within = within / (count - num_groups)
        mean_between = (group_squares - total**2 / count) / (num_groups - 1)
        even_count = (count - squared_counts / count) / (num_groups - 1)
        return np.maximum(0.0, (mean_between - mean_within) / even_count), mean_within
