from dataclasses import replace

import numpy as np
import pytest

from agents.analysis.token_gates import extremes, token_gates
from lm.errors import InvalidValueError
from tests.agents.analysis.test_gate_statistics import episodes_with


def test_extremes_by_hand() -> None:
    ids = np.array([7, 7, 8, 8, 9, 9, 5])
    values = np.array([0.2, 0.4, 0.9, 0.7, 0.5, 0.5, 1.0])
    found = extremes(ids, values, "token {}".format, min_occurrences=2, count=10)
    assert [one.token_id for one in found.highest] == [8]  # 5 is higher, but occurs once
    assert [one.token_id for one in found.lowest] == [7, 9]
    seven = found.lowest[0]
    assert (seven.text, seven.count) == ("token 7", 2)
    assert seven.mean == pytest.approx(0.3) and seven.std == pytest.approx(0.1)
    assert [one.token_id for one in extremes(ids, values, str, min_occurrences=1, count=1).highest] == [5]
    nobody = extremes(ids, values, str, min_occurrences=3, count=1)
    assert nobody.highest == nobody.lowest == ()


def test_tokens_drawn_and_tokens_after_which() -> None:
    episodes = replace(episodes_with([[0.1, 0.3, 0.5], [0.9]]), tokens=np.array([[4, 5, 4], [5, 0, 0]]))
    found = token_gates(episodes, str, min_occurrences=1)
    drawn = found.drawn["creativity"]
    assert {one.text: one.mean for one in (*drawn.highest, *drawn.lowest)} == pytest.approx({"5": 0.6, "4": 0.3})
    after = found.after["creativity"]  # both prompts end with the token 2
    means = {one.text: one.mean for one in (*after.highest, *after.lowest)}
    assert means == pytest.approx({"2": 0.5, "4": 0.3, "5": 0.5})


def test_min_occurrences() -> None:
    with pytest.raises(InvalidValueError, match="`min_occurrences` must be at least 1. Received 0"):
        token_gates(episodes_with([[0.1]]), str, min_occurrences=0)
