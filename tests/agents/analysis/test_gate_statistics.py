import numpy as np
import pytest

from agents.analysis.gate_statistics import correlation, correlations, quarters
from tests.agents.given_gates import episodes_with


def test_quarters_follow_each_episode_s_own_length() -> None:
    # 8 tokens: two a quarter. 4 tokens: one a quarter. 2 tokens: the first and the third quarter.
    found = quarters(episodes_with([[0.0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8], [0.5, 0.6, 0.7, 0.8], [0.9, 0.1]]))
    assert [quarter.number for quarter in found] == [1, 2, 3, 4]
    assert [quarter.num_episodes for quarter in found] == [3, 2, 3, 2]
    means = [quarter.gates["creativity"].mean for quarter in found]
    assert means == pytest.approx([(0.1 + 0.5 + 0.9) / 3, (0.3 + 0.6) / 2, (0.5 + 0.7 + 0.1) / 3, (0.7 + 0.8) / 2])
    assert found[0].gates["creativity"].low < means[0] < found[0].gates["creativity"].high
    assert found[0].reward.mean == pytest.approx(means[0])  # the rewards are the creativity here
    assert [quarter.number for quarter in quarters(episodes_with([[0.5]]))] == [1]


def test_correlation_against_numpy() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.random((2, 40, 7))
    y = y + x
    is_alive = np.arange(7) < generator.integers(1, 8, 40)[:, None]
    value, low, high = correlation(x, y, is_alive)
    assert value == pytest.approx(np.corrcoef(x[is_alive], y[is_alive])[0, 1])
    assert -1 < low < value < high < 1
    # Fisher's interval holds for independent tokens, which these are.
    centre, width = np.arctanh(value), 1.96 / np.sqrt(is_alive.sum() - 3)
    assert (low, high) == pytest.approx(np.tanh([centre - width, centre + width]), abs=0.05)


def test_correlations_by_hand() -> None:
    rising = [[0.0, 0.5], [1.0, 0.25]]
    found = {
        (one.first, one.second): one.value
        for one in correlations(episodes_with(rising, neutral_entropy=[[4.0, 3.0], [2.0, 3.5]]))
    }
    assert len(found) == 3 + 3 * 2
    assert found["creativity", "stability"] == pytest.approx(-1)
    assert found["creativity", "entropy"] == pytest.approx(1)
    assert found["creativity", "neutral_entropy"] == pytest.approx(-1)
    assert found["creativity", "focus"] is None and found["focus", "entropy"] is None  # focus does not vary
