"""Rewards from a judge: somebody who says how likely each token is to come next, and is taken at their word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from lm.checks import WEIGHT, check_fields
from lm.errors import InvalidValueError
from lm.settings import settings_from
from tidal_gym.rewards.rewards import Outcome, RewardReference, RewardTerms, register_reward

LEAST_PROBABILITY = 1e-12
"""What a judge holds impossible counts as this, so that a reward stays finite."""


DEFAULT_JUDGE = "tidal-judge"
"""Bundled model that judges where no other is named."""


class Judge(Protocol):
    """Reads N texts along with whoever writes them, and says of each what should come next: a grammar, another model.

    It works once for every token, however many actions are tried in a state.
    """

    log_probs: Tensor
    """(N, V) log P(next token | text) [nats] of the texts read so far; −inf for what cannot come. Written in place."""

    is_fixed: bool
    """Whether :meth:`advance` has fixed shapes and asks the device nothing, so that a CUDA graph can hold it."""

    def begin(self, rows: Tensor, prompts: Tensor, lengths: Tensor) -> None:
        """Begins rows anew.

        Args:
            rows: (R,) which rows.
            prompts: (R, P) ids, special prefix included, right-padded with anything.
            lengths: (R,) tokens of each prompt, at least 1.
        """

    def copy_rows(self, other: Self, rows: Tensor) -> None:
        """Copies rows (N,) of `other`, a judge of the same kind: row i becomes row ``rows[i]`` of `other`."""

    def state(self) -> dict[str, Tensor]:
        """What has been read: the tensors themselves; see :class:`lm.streams.protocol.DecodingStream`."""

    def advance(self, tokens: Tensor) -> None:
        """Reads one more token (N,) in every row. A row that is full means nothing until it begins anew."""


@dataclass(frozen=True)
class JudgeWeights:
    """How much the only term counts."""

    agreement: float = 1.0
    """Of the divergence from the judge; any finite number."""

    def __post_init__(self) -> None:
        check_fields(self, "reward_weights", agreement=WEIGHT)


@register_reward("judge")
class JudgeReward:
    """Minus the reverse KL divergence from the sampling distribution q to the judge's P, at most 0 [nats]:

        agreement = −KL(q ‖ P) = −Σ_x q(x) (log q(x) − log P(x)),   P(x) at least 1e-12

    It is exact, summed over the tokens that can be drawn, and so the same whichever of them is drawn. It is 0 where q
    is the judge's distribution and nowhere else: to be likely is not enough, nor to be varied.

    Args:
        reference: of an environment with a judge.
        weights: fields of :class:`JudgeWeights` that differ.

    Raises:
        InvalidValueError: there is no judge, or weights that do not exist or are not finite.
    """

    def __init__(self, reference: RewardReference, weights: Mapping[str, float] | None = None) -> None:
        if not reference.has_judge:
            hint = f"Name one, as judge={DEFAULT_JUDGE!r}."
            raise InvalidValueError("reward", "must be another where there is no judge", "'judge'", hint)
        self.weights = settings_from(JudgeWeights, "reward_weights", weights)

    def __call__(self, outcome: Outcome) -> RewardTerms:
        """Term and total, (N, K)."""
        assert outcome.judged is not None
        agreement = -reverse_divergence(outcome.sampling.tokens, outcome.sampling.probs, outcome.judged)
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
