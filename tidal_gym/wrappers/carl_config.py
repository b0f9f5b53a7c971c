"""How the CARL reward is paid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lm.carl.options import CarlWeights, Composite
from lm.checks import WEIGHT, check_fields
from lm.settings import settings_from


@dataclass(frozen=True)
class CarlRewardConfig:
    """How the CARL reward is paid."""

    mode: Literal["add", "replace"] = "add"
    """Whether it is added to the environment's reward, or replaces it."""
    payment: Literal["differences", "end"] = "differences"
    """"differences": after each token, how much the episode's score changed, which sums to the final score; "end": the
    final score, with the last token."""
    weight: float = 1.0
    """What the score is multiplied by; finite. An episode's score lies in [0, 1], its tidal reward about at 5."""
    composite: Composite = "corrected"
    """How the scores become one number (`lm.carl.reward.carl_reward`)."""
    weights: CarlWeights | None = None
    """Of the three scores; None: the published ones."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", settings_from(CarlWeights, "weights", self.weights))
        check_fields(self, weight=WEIGHT)
