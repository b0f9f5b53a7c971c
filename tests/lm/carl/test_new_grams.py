"""Novelty: by hand, and against sets of tuples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lm.carl import novelty
from lm.errors import InvalidValueError


def slow_novelty(ids: list[list[int]], starts: list[int], groups: list[int]) -> list[float]:
    """4-grams as tuples, in sets."""
    ids = [[-1] * max(0, 4 - len(row)) + row for row in ids]
    starts = [start + len(row) - length for start, row, length in zip(starts, ids, map(len, ids), strict=True)]
    grams = [[tuple(row[end - 3 : end + 1]) for end in range(3, len(row))] for row in ids]
    own = [set(row[max(0, start - 3) :]) for row, start in zip(grams, starts, strict=True)]
    shares = []
    for row, (all_grams, start) in enumerate(zip(grams, starts, strict=True)):
        others = set().union(
            *(own[other] for other in range(len(ids)) if other != row and groups[other] == groups[row])
        )
        first = max(0, start - 3)
        new = [g for place, g in enumerate(all_grams) if place >= first and g not in all_grams[:place] + list(others)]
        shares.append(len(new) / len(all_grams[first:]))
    return shares


def test_by_hand() -> None:
    assert novelty(np.array([1, 2, 3, 4, 5])) == 1.0
    assert novelty(np.array([7] * 13)) == pytest.approx(1 / 10)  # a loop: the first of ten 4-grams
    assert novelty(np.array([1, 2, 3, 4, 1, 2, 3, 4])) == pytest.approx(4 / 5)


def test_copies_of_one_another_are_not_new() -> None:
    ids = np.array([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [9, 8, 7, 6, 5, 4]])
    np.testing.assert_allclose(novelty(ids), [0, 0, 1])
    np.testing.assert_allclose(novelty(ids, groups=np.array([0, 1, 1])), [1, 1, 1])


def test_a_copy_of_the_prompt_is_not_new() -> None:
    """Of the five 4-grams that end in the completion, three lie across its border and are new."""
    ids = np.array([1, 2, 3, 4, 5, 1, 2, 3, 4, 5])
    mask = np.arange(10) >= 5
    assert novelty(ids, mask) == pytest.approx(3 / 5)


def test_short_answers() -> None:
    """Judged with the prompt: the same word after the same prompt is a copy."""
    ids, mask = np.array([[1, 2, 3, 9], [1, 2, 3, 9], [1, 2, 3, 8]]), np.array([[False, False, False, True]] * 3)
    np.testing.assert_allclose(novelty(ids, mask), [0, 0, 1])
    np.testing.assert_allclose(novelty(np.array([[5], [5], [6]])), [0, 0, 1])


@given(st.data())
def test_slow_version(data: st.DataObject) -> None:
    length = data.draw(st.integers(4, 12))
    rows = data.draw(st.integers(1, 4))
    ids = data.draw(
        st.lists(st.lists(st.integers(0, 2), min_size=length, max_size=length), min_size=rows, max_size=rows)
    )
    start = data.draw(st.integers(0, length - 1))
    groups = data.draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows))
    mask = torch.arange(length).expand(rows, -1) >= start
    ours = novelty(torch.tensor(ids), mask, torch.tensor(groups))
    assert ours.tolist() == pytest.approx(slow_novelty(ids, [start] * rows, groups))


def test_large_vocabularies_do_not_overflow() -> None:
    ids = torch.randint(1 << 40, (3, 50), generator=torch.Generator().manual_seed(0))
    assert novelty(ids).tolist() == [1, 1, 1]


def test_bad_input() -> None:
    with pytest.raises(InvalidValueError, match="`token_ids` must have the shape"):
        novelty(np.zeros((1, 2, 3), int))
    with pytest.raises(InvalidValueError, match="`mask` and `groups` must fit"):
        novelty(np.zeros((2, 5), int), groups=np.zeros(3, int))
