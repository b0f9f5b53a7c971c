"""Reward: negative reverse KL divergence from q to a judge's next-token distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from lm.checks import WEIGHT, check_fields
from lm.errors import InvalidValueError
from lm.model_names import DEFAULT_JUDGE
from lm.settings import settings_from
from tidal_gym.rewards.rewards import Outcome, RewardReference, RewardTerms, register_reward

LEAST_PROBABILITY = 1e-12
"""Lower limit of a judge's probabilities, so that rewards are finite."""


class Judge(Protocol):
    """Protocol of judges: next-token distributions for N texts, from a grammar or another model.

    A judge runs once per token, independent of the number of actions tried in a state.
    """

    log_probs: Tensor
    """(N, V) log P(next token | text) [nats] of the texts so far; −inf for impossible tokens. Updated in place."""

    is_fixed: bool
    """Whether :meth:`advance` has fixed shapes and does not synchronise, so that a CUDA graph can record it."""

    def begin(self, rows: Tensor, prompts: Tensor, lengths: Tensor) -> None:
        """Resets rows.

        Args:
            rows: (R,) indices of the rows.
            prompts: (R, P) token ids, special prefix included, right-padded with any values.
            lengths: (R,) length of each prompt [tokens], at least 1.
        """

    def copy_rows(self, other: Self, rows: Tensor) -> None:
        """Copies rows (N,) of `other`, a judge of the same kind: row i becomes row ``rows[i]`` of `other`."""

    def state(self) -> dict[str, Tensor]:
        """State of the judge: the tensors themselves, not copies; see :class:`lm.streams.protocol.DecodingStream`."""

    def advance(self, tokens: Tensor) -> None:
        """Reads one token (N,) in each row. Full rows have undefined output until their reset."""


@dataclass(frozen=True)
class JudgeWeights:
    """Weight of the judge reward's term."""

    agreement: float = 1.0
    """Weight of the term `agreement`; any finite number."""

    def __post_init__(self) -> None:
        check_fields(self, "reward_weights", agreement=WEIGHT)


@register_reward("judge")
class JudgeReward:
    """Reward: negative reverse KL divergence from the sampling distribution q to the judge's P [nats], at most 0:

        agreement = −KL(q ‖ P) = −Σ_x q(x) (log q(x) − log P(x)),   P(x) at least 1e-12

    It is an exact sum over the tokens of q, so it does not depend on the drawn token. It is 0 if and only if q equals
    P: neither probable nor diverse sampling alone suffices.

    Args:
        reference: reference of an environment with a judge.
        weights: fields of :class:`JudgeWeights` that differ from the defaults.

    Raises:
        InvalidValueError: there is no judge, or a weight is unknown or not finite.
    """

    def __init__(self, reference: RewardReference, weights: Mapping[str, float] | None = None) -> None:
        if not reference.has_judge:
            hint = f"Name one, as judge={DEFAULT_JUDGE!r}."
            raise InvalidValueError("reward", "needs a judge", "'judge'", hint)
        self.weights = settings_from(JudgeWeights, "reward_weights", weights)

    def __call__(self, outcome: Outcome) -> RewardTerms:
        """Term and total reward, (N, K)."""
        assert outcome.judged is not None
        agreement = -reverse_divergence(outcome.sampling.tokens, outcome.sampling.probs, outcome.judged)
        terms = {"agreement": agreement.unsqueeze(1).expand(outcome.tokens.shape)}
        return RewardTerms(terms, self.weights.agreement * terms["agreement"])


def reverse_divergence(tokens: Tensor, probs: Tensor, log_probs: Tensor) -> Tensor:
    """Reverse KL divergence KL(q ‖ P) (N,) [nats], for q over K tokens and P over the vocabulary.

    Args:
        tokens: (N, K) ids of the tokens of q.
        probs: (N, K) probabilities under q, which sum to 1.
        log_probs: (N, V) log P [nats].
    """
    judged = log_probs.gather(1, tokens).clamp(min=math.log(LEAST_PROBABILITY)).to(probs.dtype)
    return -(torch.special.entr(probs) + probs * judged).sum(dim=1)
