"""What the neutral stream expects next: the numbers of its distribution p that observation and reward need.

All of them come from few passes over the logits. With c = exp((z - max z)/3), the unnormalized probabilities at
temperatures 1.5, 1 and 0.5 are c², c³ and c⁶, so one exponential gives three entropies. Tokens of the text are
summed apart from the rest of the vocabulary: their share is the mass on the text, and swapping in their penalized
logits gives the entropy under repetition penalty without another pass, and without cancellation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tidal_gym.modulation import penalize

TEMPERATURES = (0.5, 1.0, 1.5)
"""Temperatures at which the observation shows the entropy of p."""


class Forecast(NamedTuple):
    """The neutral distribution p over the next token, for N rows."""

    logits: Tensor
    """(N, V)."""
    log_normalizer: Tensor
    """(N,), log of the sum of exp(logits)."""
    entropies: Tensor
    """(N, 3) entropy [nats] at the temperatures 0.5, 1 and 1.5."""
    penalized_entropy: Tensor
    """(N,) entropy [nats] under the strongest repetition penalty."""
    largest_probability: Tensor
    """(N,), in (0, 1]."""
    text_mass: Tensor
    """(N,) probability of all tokens that the text holds, in [0, 1]."""
    recent_mass: Tensor
    """(N,) probability of the tokens among the last 10, in [0, 1]."""

    def log_prob(self, tokens: Tensor) -> Tensor:
        """log p of tokens (N, K), same shape [nats]."""
        return self.logits.gather(1, tokens) - self.log_normalizer.unsqueeze(1)


def forecast(logits: Tensor, text: Tensor, is_first: Tensor, recent: Tensor, strongest_penalty: float) -> Forecast:
    """The numbers of p.

    Args:
        logits: (N, V) of the neutral stream.
        text: (N, L) ids of the text, with any repeats (:attr:`TokenHistory.tokens`).
        is_first: (N, L) bool, one place for each distinct token of the text.
        recent: (N, 10) ids of the last tokens, -1 where there are fewer.
        strongest_penalty: the largest repetition penalty that an action can set.
    """
    top = logits.amax(dim=1, keepdim=True)  # (N, 1)
    # Below this, c⁶ would leave the range of normal numbers; tokens there weigh nothing.
    floor = math.log(torch.finfo(logits.dtype).tiny) / 2
    thirds = torch.add(top / -3, logits, alpha=1 / 3).clamp_(min=floor / 3)  # (N, V) of (z - max z)/3
    weights = thirds.exp()  # c
    weights.scatter_(1, text, 0.0)  # from here on: the vocabulary without the text
    square = weights * weights
    cube = square * weights

    text_logits = logits.gather(1, text)  # (N, L)
    text_scores = (text_logits - top).clamp_(min=floor)
    rests, texts = [], []
    for rest_weights, temperature in zip((cube * cube, cube, square), TEMPERATURES, strict=True):
        rests.append(_Mass(rest_weights.sum(dim=1), 3 * rest_weights.mul_(thirds).sum(dim=1)))
        texts.append(_text_mass(text_scores, is_first, temperature))
    penalized_text = _text_mass((penalize(text_logits, strongest_penalty) - top).clamp_(min=floor), is_first)

    _, rest, _ = rests  # at temperature 1
    _, plain_text, _ = texts
    normalizer = rest.total + plain_text.total
    log_normalizer = top.squeeze(1) + normalizer.log()
    return Forecast(
        logits=logits,
        log_normalizer=log_normalizer,
        entropies=torch.stack(list(map(_entropy, rests, texts, TEMPERATURES)), dim=1),
        penalized_entropy=_entropy(rest, penalized_text),
        largest_probability=normalizer.reciprocal(),
        text_mass=plain_text.total / normalizer,
        recent_mass=_recent_mass(logits, log_normalizer, recent),
    )


class _Mass(NamedTuple):
    """Unnormalized probability of a part of the vocabulary, (N,) each; scores s are logits relative to the largest."""

    total: Tensor
    """Sum of exp(s/T)."""
    energy: Tensor
    """Sum of s exp(s/T)."""


def _text_mass(scores: Tensor, is_first: Tensor, temperature: float = 1.0) -> _Mass:
    weights = (scores / temperature).exp_() * is_first
    return _Mass(weights.sum(dim=1), (weights * scores).sum(dim=1))


def _entropy(rest: _Mass, text: _Mass, temperature: float = 1.0) -> Tensor:
    """Entropy (N,) [nats] of rest and text together: log Z - E/(T Z)."""
    total = rest.total + text.total
    return total.log() - (rest.energy + text.energy) / (temperature * total)


def _recent_mass(logits: Tensor, log_normalizer: Tensor, recent: Tensor) -> Tensor:
    # A token that recurs within the window counts once, at its last place.
    recurs = (recent.unsqueeze(2) == recent.unsqueeze(1)).triu(diagonal=1).any(dim=2)  # (N, 10)
    probs = (logits.gather(1, recent.clamp(min=0)) - log_normalizer.unsqueeze(1)).exp()
    return (probs * (~recurs & (recent >= 0))).sum(dim=1)
