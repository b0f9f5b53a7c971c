"""Rewards from a judge: somebody who says how likely each token is to come next, and is taken at their word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lm.errors import InvalidValueError
from tidal_gym.rewards import Outcome, RewardReference, RewardTerms, register_reward
from tidal_gym.settings import require_finite, settings_from

LEAST_PROBABILITY = 1e-12
"""What a judge holds impossible counts as this, so that a reward stays finite."""


class Judge(Protocol):
    """A distribution over the next token for every text: a grammar, or another language model."""

    def log_probs(self, text: Tensor, lengths: Tensor) -> Tensor:
        """log P(next token | text) [nats], (N, V); −inf for what cannot come.

        A pure function of the texts. It is asked for every action that is tried in a state, and mostly for texts that
        have grown by one token since: what is worth keeping between calls, the judge keeps.

        Args:
            text: (N, L) token ids; what lies behind a row's length has no meaning.
            lengths: (N,) tokens of each text.
        """


@dataclass(frozen=True)
class JudgeWeights:
    """How much the only term counts."""

    agreement: float = 1.0
    """Of the divergence from the judge; any finite number."""

    def __post_init__(self) -> None:
        require_finite("reward_weights.agreement", self.agreement)


@register_reward("judge")
class JudgeReward:
    """Minus the reverse KL divergence from the sampling distribution q to the judge's P, at most 0 [nats]:

        agreement = −KL(q ‖ P) = −Σ_x q(x) (log q(x) − log P(x)),   P(x) at least 1e-12

    It is exact, summed over the tokens that can be drawn, and so the same whichever of them is drawn. It is 0 where q
    is the judge's distribution and nowhere else: to be likely is not enough, nor to be varied.

    Args:
        reference: with a judge.
        weights: fields of :class:`JudgeWeights` that differ.

    Raises:
        InvalidValueError: there is no judge, or weights that do not exist or are not finite.
    """

    def __init__(self, reference: RewardReference, weights: Mapping[str, float] | None = None) -> None:
        if reference.judge is None:
            hint = "TidalRLM-v0 has one, its grammar."
            raise InvalidValueError("reward", "must be another where there is no judge", "'judge'", hint)
        self.weights = settings_from(JudgeWeights, "reward_weights", weights)
        self._judge = reference.judge

    def __call__(self, outcome: Outcome) -> RewardTerms:
        """Term and total, (N, K)."""
        log_probs = self._judge.log_probs(outcome.text, outcome.lengths)
        agreement = -reverse_divergence(outcome.sampling.tokens, outcome.sampling.probs, log_probs)
        terms = {"agreement": agreement.unsqueeze(1).expand(outcome.tokens.shape)}
        return RewardTerms(terms, self.weights.agreement * terms["agreement"])


def reverse_divergence(tokens: Tensor, probs: Tensor, log_probs: Tensor) -> Tensor:
    """KL(q ‖ P) [nats], (N,), of q over some tokens from P over all.

    Args:
        tokens: (N, K) ids that q can draw.
        probs: (N, K) their probabilities under q, which sum to 1.
        log_probs: (N, V) log P.
    """
    judged = log_probs.gather(1, tokens).clamp(min=math.log(LEAST_PROBABILITY)).to(probs.dtype)
    return -(torch.special.entr(probs) + probs * judged).sum(dim=1)
