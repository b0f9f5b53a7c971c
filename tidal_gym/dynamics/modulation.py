"""Modulation of sampling by the gates: temperature, repetition penalty, and focus bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from lm.checks import COUNT, TEMPERATURE, above, at_least, check_fields
from lm.decoding.sampling import top_p_mask
from tidal_gym.dynamics.repetition_penalty import penalize
from tidal_gym.dynamics.sampling_distribution import SamplingDistribution, distribution_over, largest

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


def gate_effects(gates: Tensor, config: ModulationConfig) -> GateEffects:
    """The effects of gates (N, 3): creativity, focus, stability."""
    creativity, focus, stability = gates.unbind(dim=1)
    return GateEffects(
        temperature=config.base_temperature * _between(config.temperature_range, creativity),
        penalty=config.base_penalty * _between(config.penalty_range, stability),
        focus_bias=config.focus_strength * focus,
    )


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
    tokens, kept = largest(logits, config.top_k)
    tempered = kept / effects.temperature.unsqueeze(1)
    if config.top_p < 1:
        tempered = top_p_mask(tempered, config.top_p)
    return distribution_over(tokens, tempered)


def _between(pair: tuple[float, float], gate: Tensor) -> Tensor:
    low, high = pair
    return low + (high - low) * gate
