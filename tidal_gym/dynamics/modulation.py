"""What the gates do to sampling: temperature, repetition penalty, focus bias, and the distribution q that results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lm.checks import COUNT, TEMPERATURE, above, at_least, check_fields
from lm.decoding.sampling import inverse_cdf_sample, top_k, top_p_mask

_PENALTY = at_least(1.0, 1e3)  # base and factor each: logits times the product of two stay finite in float32


@dataclass(frozen=True)
class ModulationConfig:
    """How far each gate reaches."""

    base_temperature: float = 1.0
    """Temperature at the middle of `temperature_range`; from 1e-4 to 1e4."""

    temperature_range: tuple[float, float] = (0.5, 1.5)
    """Factors on `base_temperature` at creativity 0 and 1, linear in between; from 1e-4 to 1e4."""

    base_penalty: float = 1.0
    """Repetition penalty at stability 0; at least 1, which is none, and at most 1000."""

    penalty_range: tuple[float, float] = (1.0, 2.5)
    """Factors on `base_penalty` at stability 0 and 1, linear in between; from 1 to 1000."""

    focus_strength: float = 2.0
    """Attention bias [nats] that focus 1 lays on the farthest token; from 0, which switches focus off,
    to 1000."""

    top_k: int = 40
    """Tokens that may be drawn, the most probable ones; at least 1, and the whole vocabulary if it is smaller."""

    top_p: float = 1.0
    """Probability that the tokens which may be drawn must reach together, the most probable ones of the `top_k` first,
    after temperature; above 0 and at most 1, where 1 keeps all (nucleus sampling, arXiv:1904.09751)."""

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
    """What the three gates mean for one token of every row."""

    temperature: Tensor
    """(N,), divides the logits."""
    penalty: Tensor
    """(N,), repetition penalty of tokens that the text already holds."""
    focus_bias: Tensor
    """(N,), attention bias [nats] that grows with distance."""


class SamplingDistribution(NamedTuple):
    """The distribution q that a token is drawn from, over its K possible tokens."""

    tokens: Tensor
    """(N, K) token ids, ascending, so that a uniform number meets them in the order of the vocabulary."""
    probs: Tensor
    """(N, K), sums to 1."""
    entropy: Tensor
    """(N,) [nats]."""


def gate_effects(gates: Tensor, config: ModulationConfig) -> GateEffects:
    """The effects of gates (N, 3): creativity, focus, stability."""
    creativity, focus, stability = gates.unbind(dim=1)
    return GateEffects(
        temperature=config.base_temperature * _between(config.temperature_range, creativity),
        penalty=config.base_penalty * _between(config.penalty_range, stability),
        focus_bias=config.focus_strength * focus,
    )


def penalize(logits: Tensor, penalty: Tensor | float) -> Tensor:
    """Logits of repeated tokens under a repetition penalty: positive ones divided by it, the others multiplied.

    Source: Keskar et al. 2019 (arXiv:1909.05858), with the sign rule that transformers' processor uses.
    """
    return torch.where(logits > 0, logits / penalty, logits * penalty)


def modulate(logits: Tensor, effects: GateEffects, text: Tensor, config: ModulationConfig) -> SamplingDistribution:
    """The distribution q: repetition penalty, then top-k, then temperature, then top-p.

    Args:
        logits: (N, V) of the gated stream; those of the text are overwritten.
        effects: of the action, fields (N,).
        text: (N, L) ids of tokens that each row's text holds, in any order and with any repeats.
        config: how many tokens may be drawn.

    Temperature keeps the order of the logits, so taking it after top-k changes nothing and costs K numbers a row.
    """
    # Repeats of a token write the same number to the same place.
    logits.scatter_(1, text, penalize(logits.gather(1, text), effects.penalty.unsqueeze(1)))
    tokens, kept = _largest(logits, config.top_k)
    tempered = kept / effects.temperature.unsqueeze(1)
    if config.top_p < 1:
        tempered = top_p_mask(tempered, config.top_p)
    return _distribution(tokens, tempered)


def distribution_of(scores: Tensor) -> SamplingDistribution:
    """The distribution that scores (N, V) stand for, over as many tokens as the row with the most has above −inf."""
    return _distribution(*_largest(scores, int((scores > -torch.inf).sum(dim=1).max())))


def _largest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Ids, ascending, and logits of the k largest of each row, (N, k) each."""
    values, columns = top_k(logits, k)
    tokens, order = columns.sort(dim=1)
    return tokens, values.gather(1, order)


def _distribution(tokens: Tensor, logits: Tensor) -> SamplingDistribution:
    log_probs = logits.log_softmax(dim=1)
    probs = log_probs.exp()
    # Tokens that the model rules out (logit -inf) have probability 0 and add nothing to the entropy.
    entropy = -(probs * log_probs.clamp(min=torch.finfo(log_probs.dtype).min)).sum(dim=1)
    return SamplingDistribution(tokens, probs, entropy)


def draw(distribution: SamplingDistribution, uniforms: Tensor) -> Tensor:
    """One token a row, by inverse CDF.

    Args:
        distribution: q over K tokens a row.
        uniforms: (N,) in [0, 1).

    Returns:
        (N,) token ids.
    """
    choice = inverse_cdf_sample(distribution.probs, uniforms)
    return distribution.tokens.gather(1, choice.unsqueeze(1)).squeeze(1)


def _between(pair: tuple[float, float], gate: Tensor) -> Tensor:
    low, high = pair
    return low + (high - low) * gate
