from __future__ import annotations

import numpy as np
import pytest
from rliable import metrics

from agents.evaluation.rl_statistics import (
    difference_interval,
    gap_closed,
    gap_closed_interval,
    interquartile_mean,
    mean_interval,
    probability_of_improvement,
)
from lm.errors import InvalidValueError

GENERATOR = np.random.default_rng(0)


def test_mean_and_width_of_crossed_runs_and_episodes() -> None:
    """Scores a_r + b_e: the variance of the mean is var(a)/R + var(b)/E, by hand."""
    runs, episodes = GENERATOR.normal(0, 1, (30, 1)), GENERATOR.normal(5, 2, (1, 400))
    interval = mean_interval(runs + episodes)
    deviation = np.sqrt(runs.var() / 30 + episodes.var() / 400)
    assert interval.mean == pytest.approx(runs.mean() + episodes.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * deviation, rel=0.05)


def test_a_single_run_is_resampled_over_episodes() -> None:
    scores = GENERATOR.normal(0, 1, (1, 900))
    interval = mean_interval(scores)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * scores.std() / 30, rel=0.05)


def test_a_difference_is_paired_by_episode() -> None:
    prompts = GENERATOR.normal(0, 10, (1, 300))  # how easy each is, far more than agents differ
    first, second = prompts + 1.0 + GENERATOR.normal(0, 0.1, (5, 300)), prompts
    interval = difference_interval(first, second)
    assert interval.mean == pytest.approx(1.0, abs=0.02)
    assert 0.97 < interval.low < interval.high < 1.03


def test_a_difference_to_itself_is_none() -> None:
    scores = GENERATOR.normal(0, 1, (4, 50))
    interval = difference_interval(scores, scores)
    assert (interval.mean, interval.low, interval.high) == (0.0, 0.0, 0.0)


def test_gap_closed() -> None:
    """Half way between floor and ceiling in every episode, whatever the episodes are like."""
    floor, ceiling = np.array([[1.0, 2.0, 3.0]]), np.array([[3.0, 6.0, 4.0]])
    halfway = np.repeat((floor + ceiling) / 2, 4, axis=0)
    interval = gap_closed_interval(halfway, floor, ceiling)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))
    whole = gap_closed_interval(ceiling, floor, ceiling)
    assert whole.low == pytest.approx(1.0) and whole.high == pytest.approx(1.0)


def test_interquartile_mean() -> None:
    scores = np.array([[0.0, 1.0, 2.0, 100.0], [-50.0, 1.0, 3.0, 4.0]])
    interval = interquartile_mean(scores)
    assert interval.mean == pytest.approx((1 + 1 + 2 + 3) / 4)  # of -50 0 | 1 1 2 3 | 4 100
    assert interval.low <= interval.mean <= interval.high


def test_probability_of_improvement_is_rliable_s() -> None:
    first, second = GENERATOR.integers(0, 4, (4, 30)).astype(float), GENERATOR.integers(0, 3, (3, 30)).astype(float)
    interval = probability_of_improvement(first, second)
    assert interval.mean == pytest.approx(metrics.probability_of_improvement(first, second))
    assert probability_of_improvement(np.array([[1.0, 2.0]]), np.array([[0.0, 2.0]])).mean == 0.75  # a win and a tie


def test_numpy_s_global_generator_is_left_as_it_was() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    scores = GENERATOR.normal(0, 1, (3, 8))
    assert interquartile_mean(scores, seed=3) == interquartile_mean(scores, seed=3)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_other_episodes_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="must be of the same 5 episodes as `first`. Received 4."):
        difference_interval(np.zeros((2, 5)), np.zeros((1, 4)))


def test_gap_closed_of_each_run_in_the_episodes_of_the_ceiling() -> None:
    learned, floor = np.array([[3.0, 5.0, 100.0], [1.0, 3.0, 0.0]]), np.array([[1.0, 3.0, 0.0]])
    assert gap_closed(learned, floor, np.array([[4.0, 8.0]])).tolist() == [0.5, 0.0]  # (4 − 2) / (6 − 2), 0 / 4
    assert gap_closed(learned, floor, np.array([[2.0, 2.0]])) is None  # no gap to close
