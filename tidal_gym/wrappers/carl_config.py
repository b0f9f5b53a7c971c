"""Configuration of the CARL reward wrappers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lm.carl.options import CarlWeights, Composite
from lm.checks import WEIGHT, check_fields
from lm.settings import settings_from


@dataclass(frozen=True)
class CarlRewardConfig:
    """Configuration of the CARL reward, a coherence score of episodes."""

    mode: Literal["add", "replace"] = "add"
    """Whether the CARL reward is added to the environment's reward, or replaces it."""
    payment: Literal["differences", "end"] = "differences"
    """Time of the reward. "differences": change of the episode's score at each token, which sums to the final score;
    "end": the final score at the last token."""
    weight: float = 1.0
    """Weight of the score; finite. An episode's score is in [0, 1]; its return of the reward `tidal` is about 5."""
    composite: Composite = "corrected"
    """Formula that combines the three scores, see `lm.carl.reward.carl_reward`."""
    weights: CarlWeights | None = None
    """Weights of the three scores. None: the published weights."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", settings_from(CarlWeights, "weights", self.weights))
        check_fields(self, weight=WEIGHT)
