"""Options of CARL scores: alignment of logits and tokens, composite formula, and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lm.checks import at_least, check_fields, require

Alignment = Literal["shifted", "paired"]
"""Logits that a token is scored with: ``"shifted"``, those of the previous position, which predict it; ``"paired"``,
those of its own position, which predict the next token, as published."""

Composite = Literal["corrected", "published"]
"""Formula that combines the scores: corrected (:mod:`lm.carl.reward`), or as published."""


@dataclass(frozen=True)
class CarlWeights:
    """Weights of the three scores; finite and at least 0."""

    multiscale: float = 0.5
    """Weight of multiscale coherence, the evenness of Φ within blocks."""

    cloud_quality: float = 0.3
    """Weight of cloud quality, Φ times the chosen token's probability."""

    discontinuity: float = 0.2
    """Weight of the discontinuity score, the mean value of jumps of Φ."""

    def __post_init__(self) -> None:
        bounds = at_least(0, 1e6)
        check_fields(self, "weights", multiscale=bounds, cloud_quality=bounds, discontinuity=bounds)


def require_weights(weights: CarlWeights | None) -> CarlWeights:
    """Checks weights; None gives the published ones.

    Raises:
        InvalidValueError: they are not `CarlWeights`.
    """
    require("weights", "must be CarlWeights", weights, weights is None or isinstance(weights, CarlWeights))
    return weights or CarlWeights()
