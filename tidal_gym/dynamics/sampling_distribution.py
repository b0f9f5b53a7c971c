"""The sampling distribution q of the next token, and the draw of a token from it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lm.decoding.sampling import inverse_cdf_sample, top_k


class SamplingDistribution(NamedTuple):
    """The sampling distribution q over its K possible tokens, for N rows."""

    tokens: Tensor
    """(N, K) token ids in ascending order, as the inverse-CDF sampling needs."""
    probs: Tensor
    """(N, K) probabilities; they sum to 1."""
    entropy: Tensor
    """(N,) entropy [nats]."""


def distribution_of(scores: Tensor) -> SamplingDistribution:
    """Softmax distribution of scores (N, V); K is the maximum number of tokens of a row with scores above −inf."""
    return distribution_over(*largest(scores, int((scores > -torch.inf).sum(dim=1).max())))


def largest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Ids in ascending order and logits of the k largest logits of each row, (N, k) each."""
    values, columns = top_k(logits, k)
    tokens, order = columns.sort(dim=1)
    return tokens, values.gather(1, order)


def distribution_over(tokens: Tensor, logits: Tensor) -> SamplingDistribution:
    """Softmax distribution of logits (N, K) over tokens (N, K)."""
    log_probs = logits.log_softmax(dim=1)
    probs = log_probs.exp()
    # Tokens with logit -inf have probability 0 and do not contribute to the entropy.
    entropy = -(probs * log_probs.clamp(min=torch.finfo(log_probs.dtype).min)).sum(dim=1)
    return SamplingDistribution(tokens, probs, entropy)


def draw(distribution: SamplingDistribution, uniforms: Tensor) -> Tensor:
    """Draws one token per row by inverse CDF.

    Args:
        distribution: sampling distribution q.
        uniforms: (N,) random numbers in [0, 1).

    Returns:
        (N,) token ids.
    """
    choice = inverse_cdf_sample(distribution.probs, uniforms)
    return distribution.tokens.gather(1, choice.unsqueeze(1)).squeeze(1)
