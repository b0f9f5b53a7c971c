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
    # Below this, the sixth power of c would leave the range of normal numbers; the tokens there weigh nothing.
    floor = math.log(torch.finfo(logits.dtype).tiny) / 2
    shifted = torch.sub(logits, top).clamp_(min=floor)  # (N, V), at most 0
    cube_root = (shifted / 3).exp_()

    text_logits = logits.gather(1, text)  # (N, L)
    in_text = shifted.gather(1, text)
    cube_root.scatter_(1, text, 0.0)  # from here on: the vocabulary without the text
    square = cube_root * cube_root
    cube = square * cube_root

    sums, energies = [], []  # of exp(z/T) and of z exp(z/T), temperatures 0.5, 1 and 1.5; z relative to the top
    for weights, temperature in zip((cube * cube, cube, square), TEMPERATURES, strict=True):
        text_weights = (in_text / temperature).exp_() * is_first
        sums.append(torch.stack((weights.sum(dim=1), text_weights.sum(dim=1))))
        energies.append(torch.stack((weights.mul_(shifted).sum(dim=1), (text_weights * in_text).sum(dim=1))))
    by_part = torch.stack(sums, dim=-1)  # (2, N, 3): rest of the vocabulary, text
    energy_by_part = torch.stack(energies, dim=-1)
    temperatures = logits.new_tensor(TEMPERATURES)
    totals = by_part.sum(dim=0)  # (N, 3)
    entropies = totals.log() - energy_by_part.sum(dim=0) / (totals * temperatures)

    penalized = (penalize(text_logits, strongest_penalty) - top).clamp_(min=floor)  # (N, L)
    penalized_weights = penalized.exp() * is_first
    penalized_total = by_part[0, :, 1] + penalized_weights.sum(dim=1)
    penalized_energy = energy_by_part[0, :, 1] + (penalized_weights * penalized).sum(dim=1)

    normalizer = totals[:, 1]
    log_normalizer = top.squeeze(1) + normalizer.log()
    return Forecast(
        logits=logits,
        log_normalizer=log_normalizer,
        entropies=entropies,
        penalized_entropy=penalized_total.log() - penalized_energy / penalized_total,
        largest_probability=normalizer.reciprocal(),
        text_mass=by_part[1, :, 1] / normalizer,
        recent_mass=_recent_mass(logits, log_normalizer, recent),
    )


def _recent_mass(logits: Tensor, log_normalizer: Tensor, recent: Tensor) -> Tensor:
    # A token that recurs within the window counts once, at its last place.
    recurs = (recent.unsqueeze(2) == recent.unsqueeze(1)).triu(diagonal=1).any(dim=2)  # (N, 10)
    probs = (logits.gather(1, recent.clamp(min=0)) - log_normalizer.unsqueeze(1)).exp()
    return (probs * (~recurs & (recent >= 0))).sum(dim=1)
