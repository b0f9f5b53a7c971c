"""Confidence intervals of scores over training runs and episodes.

Scores are matrices (R, E): R runs (training seeds) by E episodes, the same for all agents. A baseline has one run.

There are two kinds of interval. :func:`mean_interval` and its siblings resample runs and episodes, each as a whole row
or column (the pigeonhole bootstrap, Owen 2007, Annals of Applied Statistics 1:386). So they account for the correlation
of scores of the same seed and of the same prompt. :func:`interquartile_mean` is rliable's (Agarwal et al. 2021,
arXiv:2108.13264), whose stratified bootstrap resamples runs independently for each episode. It ignores the correlation
of a run's scores over episodes, and so is narrower.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.intervals import RESAMPLES, Interval
from lm.errors import InvalidValueError

RLIABLE_RESAMPLES = 2000
"""Number of rliable's resamples, about 0.8 ms each; the ends are accurate to a few percent of the width."""

Scores = NDArray[np.floating]


def mean_interval(scores: Scores, *, seed: int = 0) -> Interval:
    """Mean of scores (R, E) and its 95% interval over runs and episodes."""
    runs, episodes = _weights(scores, seed)
    return _interval(scores.mean(), ((runs @ scores) * episodes).sum(axis=1))


def difference_interval(first: Scores, second: Scores, *, seed: int = 0) -> Interval:
    """Mean of `first` (R, E) minus mean of `second` (Q, E), and its 95% interval.

    Both use the same resampled episodes. If R = Q, the runs are paired too, such as an agent and its variant; otherwise
    each side's runs are resampled independently.
    """
    _require_same_episodes(first, second)
    if len(first) == len(second):
        return mean_interval(first - second, seed=seed)
    ours, episodes = _weights(first, seed)
    theirs, _ = _weights(second, seed + 1)
    return _interval(first.mean() - second.mean(), ((ours @ first - theirs @ second) * episodes).sum(axis=1))


def gap_closed(learned: Scores, floor: Scores, ceiling: Scores) -> Scores | None:
    """(R,) share of the gap from floor (0) to ceiling (1) that each run of `learned` closes, by mean scores.

    Args:
        learned: (R, E) scores of the learned runs.
        floor: (1, E) scores of the baseline.
        ceiling: (1, F) scores of the reference in the first F of the E episodes; the other episodes are excluded.

    Returns:
        The shares; None if the ceiling is not above the floor.
    """
    count = ceiling.shape[1]
    start = floor[:, :count].mean()
    gap = ceiling.mean() - start
    return (learned[:, :count].mean(axis=1) - start) / gap if gap > 0 else None


def gap_closed_interval(learned: Scores, floor: Scores, ceiling: Scores, *, seed: int = 0) -> Interval:
    """(learned − floor) / (ceiling − floor) of the means, and its 95% interval over runs and episodes.

    Args:
        learned: (R, E) scores of the learned runs.
        floor: (1, E) scores of the baseline.
        ceiling: (1, E) scores of the reference.
        seed: seed of the resampling.
    """
    _require_same_episodes(learned, floor)
    _require_same_episodes(learned, ceiling)
    runs, episodes = _weights(learned, seed)
    gained = ((runs @ learned - floor) * episodes).sum(axis=1)
    possible = ((ceiling - floor) * episodes).sum(axis=1)
    return _interval((learned.mean() - floor.mean()) / (ceiling.mean() - floor.mean()), gained / possible)


def interquartile_mean(scores: Scores, *, seed: int = 0) -> Interval:
    """Mean of the middle half of all scores (R, E), with rliable's stratified bootstrap over runs and episodes."""
    from rliable import library, metrics

    with _global_generator(seed):
        _, intervals = library.get_interval_estimates(
            {"scores": scores},
            lambda drawn: np.array([metrics.aggregate_iqm(drawn)]),
            task_bootstrap=True,
            reps=RLIABLE_RESAMPLES,
        )
    low, high = intervals["scores"][:, 0]
    return Interval(float(metrics.aggregate_iqm(scores)), float(low), float(high))


def probability_of_improvement(first: Scores, second: Scores, *, seed: int = 0) -> Interval:
    """Probability that a run of `first` (R, E) scores higher than one of `second` (Q, E) in the same episode.

    Ties count half. It is a mean over episodes, with rliable's stratified bootstrap over runs, which does not resample
    episodes. The value equals ``rliable.metrics.probability_of_improvement``, which takes seconds per resample.
    """
    from rliable import library

    _require_same_episodes(first, second)

    def probability(ours: Scores, theirs: Scores) -> Scores:
        return np.array([(1 + np.sign(ours[:, None] - theirs[None]).mean()) / 2])

    with _global_generator(seed):
        _, intervals = library.get_interval_estimates(
            {"pair": [first, second]}, probability, reps=RLIABLE_RESAMPLES // 4
        )
    low, high = intervals["pair"][:, 0]
    return Interval(float(probability(first, second)[0]), float(low), float(high))


def _weights(scores: Scores, seed: int) -> tuple[Scores, Scores]:
    """Weights of each run (B, R) and each episode (B, E) in B resamples."""
    generator = np.random.default_rng(seed)
    num_runs, num_episodes = scores.shape
    # Episodes first: two score matrices of different numbers of runs resample the same episodes under the same seed.
    episodes = generator.multinomial(num_episodes, np.full(num_episodes, 1 / num_episodes), RESAMPLES)
    runs = generator.multinomial(num_runs, np.full(num_runs, 1 / num_runs), RESAMPLES)
    return runs / num_runs, episodes / num_episodes


def _interval(figure: float | np.floating, resampled: Scores) -> Interval:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Interval(float(figure), float(low), float(high))


def _require_same_episodes(first: Scores, second: Scores) -> None:
    if first.shape[1] != second.shape[1]:
        raise InvalidValueError("second", f"must be of the same {first.shape[1]} episodes as `first`", second.shape[1])


@contextmanager
def _global_generator(seed: int) -> Iterator[None]:
    """Seeds numpy's global generator, which rliable 1.2 always uses, and restores it at the end."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
