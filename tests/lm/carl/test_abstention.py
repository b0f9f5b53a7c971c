"""The coherence gate."""

from __future__ import annotations

import math

import pytest

from lm.carl import coherence_gate
from lm.errors import InvalidValueError


@pytest.mark.parametrize(
    ("phi", "expected"),
    [
        (1.0, (True, "high")),
        (0.8, (True, "high")),
        (0.79, (True, "medium")),
        (0.5, (True, "medium")),
        (0.49, (True, "low")),
        (3 / 16, (True, "low")),
        (0.18, (False, "abstain")),
        (-0.001, (False, "abstain")),
    ],
)
def test_coherence_gate(phi: float, expected: tuple[bool, str]) -> None:
    assert coherence_gate(phi) == expected


def test_the_threshold_goes_before_the_levels() -> None:
    assert coherence_gate(0.85, threshold=0.9) == (False, "abstain")
    assert coherence_gate(0.95, threshold=0.9) == (True, "high")


@pytest.mark.parametrize("value", [math.nan, 1.5])
def test_coherence_gate_takes_numbers_of_at_most_one(value: float) -> None:
    with pytest.raises(InvalidValueError, match="`phi_mean` must be a number of at most 1"):
        coherence_gate(value)
    with pytest.raises(InvalidValueError, match="`threshold` must be a number of at most 1"):
        coherence_gate(0.5, value)
