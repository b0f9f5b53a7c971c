"""What a user chooses: which logits score a token, how the scores become one number, and how much each counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lm.checks import at_least, check_fields, require

Alignment = Literal["shifted", "paired"]
"""Which logits a token is scored with: ``"shifted"`` those before it, which it was chosen from, and ``"paired"`` those
at its own place, as in the published form, which are about the token after it."""

Composite = Literal["corrected", "published"]
"""How the scores become one number: as in :mod:`lm.carl.reward`, or as published."""


@dataclass(frozen=True)
class CarlWeights:
    """Weights of the three scores; finite and at least 0."""

    multiscale: float = 0.5
    """Of the evenness of Φ within blocks."""

    cloud_quality: float = 0.3
    """Of Φ times the chosen token's probability."""

    discontinuity: float = 0.2
    """Of the worth of jumps of Φ."""

    def __post_init__(self) -> None:
        bounds = at_least(0, 1e6)
        check_fields(self, "weights", multiscale=bounds, cloud_quality=bounds, discontinuity=bounds)


def require_weights(weights: CarlWeights | None) -> CarlWeights:
    """The weights, the published ones for None.

    Raises:
        InvalidValueError: they are something else.
    """
    require("weights", "must be CarlWeights", weights, weights is None or isinstance(weights, CarlWeights))
    return weights or CarlWeights()
