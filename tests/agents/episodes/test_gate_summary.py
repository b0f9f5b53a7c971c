import numpy as np
import pytest

from agents.episodes.gate_summary import summarize_gates
from tests.agents.given_gates import episodes_with


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
