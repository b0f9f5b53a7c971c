import numpy as np
import pytest

from agents.analysis.gate_statistics import correlation, correlations, quarters
from agents.episodes.episodes import Episodes
from agents.episodes.gate_summary import summarize_gates


def episodes_with(gates: list[list[float]], **infos: list[list[float]]) -> Episodes:
    """Episodes whose creativity is given, whose focus is 0.5 and whose stability is 1 − creativity."""
    lengths = np.array([len(row) for row in gates])
    width = max(lengths)

    def padded(rows: list[list[float]]) -> np.ndarray:
        return np.array([[*row, *[0.0] * (width - len(row))] for row in rows])

    is_alive = np.arange(width) < lengths[:, None]
    creativity = padded(gates)
    stacked = np.stack((creativity, np.full_like(creativity, 0.5), 1 - creativity), axis=2) * is_alive[:, :, None]
    return Episodes(
        prompts=tuple((1, 2) for _ in gates),
        tokens=is_alive.astype(np.int64),
        gates=stacked.astype(np.float32),
        rewards=padded(infos.pop("rewards", gates)),
        infos={"entropy": padded(infos.pop("entropy", gates)), **{key: padded(rows) for key, rows in infos.items()}},
        lengths=lengths,
    )


def test_statistics_of_a_gate() -> None:
    statistics = summarize_gates(episodes_with([[0.0, 0.5, 1.0], [0.25]]))
    creativity = statistics["creativity"]
    assert creativity.mean == pytest.approx(1.75 / 4)
    assert creativity.std == pytest.approx(np.sqrt((0.0 + 0.25 + 1.0 + 0.0625) / 4 - (1.75 / 4) ** 2))
    assert (creativity.least, creativity.largest) == (0.0, 1.0)
    assert (creativity.share_closed, creativity.share_open) == (0.25, 0.25)
    assert creativity.mean_change == pytest.approx(0.5)  # two changes of 0.5, none across episodes
    assert creativity.quantiles["50"] == pytest.approx(0.375)
    assert [place for place, count in enumerate(creativity.histogram) if count] == [0, 5, 10, 19]
    assert sum(creativity.histogram) == 4
    assert statistics["focus"].std == 0.0


def test_places_behind_an_episode_s_end_have_no_say() -> None:
    gate = summarize_gates(episodes_with([[0.5, 0.5, 0.5], [1.0]]))["creativity"]
    assert gate.by_step == (0.75, 0.5, 0.5)
    assert gate.low_by_step == pytest.approx((0.55, 0.5, 0.5))  # the 10% quantile of 0.5 and 1
    assert gate.high_by_step == pytest.approx((0.95, 0.5, 0.5))


def test_no_change_where_no_episode_has_two_tokens() -> None:
    assert summarize_gates(episodes_with([[0.2], [0.4]]))["creativity"].mean_change is None


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
