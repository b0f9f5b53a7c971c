"""The coherence gate: whether to act on an answer, or to abstain."""

from __future__ import annotations

import numbers
from typing import NamedTuple

from lm.carl.constants import SIGMA
from lm.errors import InvalidValueError

HIGH, MEDIUM = 0.8, 0.5
"""Minimum mean Φ of high and of medium confidence."""


class GateDecision(NamedTuple):
    """Decision of the coherence gate."""

    should_act: bool
    """Whether to act on the answer, or to abstain."""
    confidence: str
    """ "high", "medium", "low" or "abstain"."""


def coherence_gate(phi_mean: float, threshold: float = SIGMA) -> GateDecision:
    """Decides from an answer's mean Φ whether to act on it: "high" from 0.8, "medium" from 0.5, "low" from `threshold`.

    Below the threshold the gate always abstains.

    Args:
        phi_mean: mean Φ of the answer's tokens, at most 1.
        threshold: mean Φ below which to abstain, at most 1.

    Raises:
        InvalidValueError: a number is above 1, or NaN.
    """
    for name, value in (("phi_mean", phi_mean), ("threshold", threshold)):
        number: object = value
        if isinstance(number, bool) or not isinstance(number, numbers.Real) or not number <= 1.0:
            raise InvalidValueError(name, "must be a number of at most 1", value)
    if phi_mean < threshold:
        return GateDecision(False, "abstain")
    if phi_mean >= HIGH:
        return GateDecision(True, "high")
    return GateDecision(True, "medium" if phi_mean >= MEDIUM else "low")
