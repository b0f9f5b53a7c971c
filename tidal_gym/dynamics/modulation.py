"""Modulation of sampling by the gates: temperature, repetition penalty, focus bias, and the sampling distribution q."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lm.checks import COUNT, TEMPERATURE, above, at_least, check_fields
from lm.decoding.sampling import inverse_cdf_sample, top_k, top_p_mask

_PENALTY = at_least(1.0, 1e3)  # for base and factor each: logits times their product stay finite in float32


@dataclass(frozen=True)
class ModulationConfig:
    """Configuration of the modulation: effect of each gate on sampling."""

    base_temperature: float = 1.0
    """Base temperature, multiplied by `temperature_range`; from 1e-4 to 1e4."""

    temperature_range: tuple[float, float] = (0.5, 1.5)
    """Factors on `base_temperature` at creativity 0 and 1, linear in between; from 1e-4 to 1e4."""

    base_penalty: float = 1.0
    """Base repetition penalty, multiplied by `penalty_range`; from 1 (no penalty) to 1000."""

    penalty_range: tuple[float, float] = (1.0, 2.5)
    """Factors on `base_penalty` at stability 0 and 1, linear in between; from 1 to 1000."""

    focus_strength: float = 2.0
    """Magnitude of the attention bias at focus 1 on the most distant token [nats]; from 0 (no focus) to 1000."""

    top_k: int = 40
    """Number of most probable tokens to sample from, at least 1; values above the vocabulary size mean all tokens."""

    top_p: float = 1.0
    """Nucleus sampling (arXiv:1904.09751): total probability of the tokens to sample from, the most probable ones of
    the `top_k` after temperature; in (0, 1], where 1 keeps all."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            "modulation",
            base_temperature=TEMPERATURE,
            temperature_range=TEMPERATURE,
            base_penalty=_PENALTY,
            penalty_range=_PENALTY,
            focus_strength=at_least(0, 1e3),
            top_k=COUNT,
            top_p=above(0, 1),
        )

    @property
    def strongest_penalty(self) -> float:
        """The largest repetition penalty that any action can set."""
        return self.base_penalty * max(self.penalty_range)


class GateEffects(NamedTuple):
    """Effects of the three gates on the next token of each row."""

    temperature: Tensor
    """(N,) temperature, which divides the logits."""
    penalty: Tensor
    """(N,) repetition penalty of tokens that occur in the text."""
    focus_bias: Tensor
    """(N,) strength of the attention bias [nats], which is linear in distance."""


class SamplingDistribution(NamedTuple):
    """The sampling distribution q over its K possible tokens, for N rows."""

    tokens: Tensor
    """(N, K) token ids in ascending order, as the inverse-CDF sampling needs."""
    probs: Tensor
    """(N, K) probabilities; they sum to 1."""
    entropy: Tensor
    """(N,) entropy [nats]."""


def gate_effects(gates: Tensor, config: ModulationConfig) -> GateEffects:
    """The effects of gates (N, 3): creativity, focus, stability."""
    creativity, focus, stability = gates.unbind(dim=1)
    return GateEffects(
        temperature=config.base_temperature * _between(config.temperature_range, creativity),
        penalty=config.base_penalty * _between(config.penalty_range, stability),
        focus_bias=config.focus_strength * focus,
    )


def penalize(logits: Tensor, penalty: Tensor | float) -> Tensor:
    """Applies a repetition penalty to logits of repeated tokens: divides positive ones, multiplies the others.

    Source: Keskar et al. 2019 (arXiv:1909.05858), with the sign rule of transformers' processor.
    """
    return torch.where(logits > 0, logits / penalty, logits * penalty)


def modulate(logits: Tensor, effects: GateEffects, text: Tensor, config: ModulationConfig) -> SamplingDistribution:
    """The sampling distribution q: repetition penalty, then top-k, then temperature, then top-p.

    Args:
        logits: (N, V) logits of the gated stream; entries of the text's tokens are overwritten.
        effects: effects of the action, fields (N,).
        text: (N, L) ids of the tokens in each row's text, in any order, repeats allowed.
        config: configuration with top-k and top-p.

    Temperature preserves the order of the logits, so applying it after top-k is equivalent and cheaper.
    """
    # Repeated tokens write the same value to the same place.
    logits.scatter_(1, text, penalize(logits.gather(1, text), effects.penalty.unsqueeze(1)))
    tokens, kept = _largest(logits, config.top_k)
    tempered = kept / effects.temperature.unsqueeze(1)
    if config.top_p < 1:
        tempered = top_p_mask(tempered, config.top_p)
    return _distribution(tokens, tempered)


def distribution_of(scores: Tensor) -> SamplingDistribution:
    """Softmax distribution of scores (N, V); K is the maximum number of tokens of a row with scores above −inf."""
    return _distribution(*_largest(scores, int((scores > -torch.inf).sum(dim=1).max())))


def _largest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Ids in ascending order and logits of the k largest logits of each row, (N, k) each."""
    values, columns = top_k(logits, k)
    tokens, order = columns.sort(dim=1)
    return tokens, values.gather(1, order)


def _distribution(tokens: Tensor, logits: Tensor) -> SamplingDistribution:
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


def _between(pair: tuple[float, float], gate: Tensor) -> Tensor:
    low, high = pair
    return low + (high - low) * gate
