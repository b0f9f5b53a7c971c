import pytest

from agents.evaluation.text_statistics import distinct, text_statistics


def test_distinct_by_hand() -> None:
    assert distinct([1, 2, 1, 2, 1], 1) == 2 / 5
    assert distinct([1, 2, 1, 2, 1], 2) == 2 / 4  # (1 2), (2 1)
    assert distinct([1, 2, 1, 2, 1, 2], 4) == 2 / 3  # 1212, 2121, 1212


def test_means_over_texts_by_hand() -> None:
    statistics = text_statistics([[1, 2, 1, 2, 1, 2], [3, 4, 5], [6]])
    assert statistics.distinct_1_per_text == pytest.approx((2 / 6 + 1 + 1) / 3)
    assert statistics.distinct_2_per_text == pytest.approx((2 / 5 + 1) / 2)
    assert statistics.repetition_4 == pytest.approx(1 / 3)
    assert statistics.length == pytest.approx(10 / 3)
