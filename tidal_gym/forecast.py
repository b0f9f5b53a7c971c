"""What the neutral stream expects next: the numbers of its distribution p that observation and reward need.

All of them come from few passes over the logits z. With c = softmax(z/3), the unnormalized probabilities at
temperatures 1.5, 1 and 0.5 are c², c³ and c⁶, so one exponential gives three entropies. Tokens of the text are
summed apart from the rest of the vocabulary: their share is the mass on the text, and swapping in their penalized
logits gives the entropy under repetition penalty without another pass, and without cancellation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tidal_gym.modulation import penalize

TEMPERATURES = (1.5, 1.0, 0.5)
"""Temperatures at which the observation shows the entropy of p, in the order of the powers of c: 3/T = 2, 3, 6."""

_LEAST_LOGIT = -1e4
"""Lower logits count as this one: a probability of 0 to any precision, without infinities in the sums."""


class Forecast(NamedTuple):
    """The neutral distribution p over the next token, for N rows."""

    log_normalizer: Tensor
    """(N,), log of the sum of exp(logits)."""
    entropies: Tensor
    """(N, 4) entropy [nats] at the temperatures 0.5, 1 and 1.5, and under the strongest repetition penalty."""
    largest_probability: Tensor
    """(N,), in (0, 1]."""
    text_mass: Tensor
    """(N,) probability of all tokens that the text holds, in [0, 1]."""
    recent_mass: Tensor
    """(N,) probability of the tokens among the last 10, in [0, 1]."""


class Forecaster:
    """Forecasts for up to N rows, in memory that is reserved once: fresh arrays of this size cost more than the sums.

    Args:
        num_rows: N.
        vocab_size: V.
        strongest_penalty: the largest repetition penalty that an action can set.
        dtype: of the logits.
        device: of the logits.
    """

    def __init__(
        self,
        num_rows: int,
        vocab_size: int,
        strongest_penalty: float,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        self._strongest_penalty = strongest_penalty
        self._buffers = torch.empty(3, num_rows, vocab_size, dtype=dtype, device=device)
        self._temperatures = torch.tensor([*TEMPERATURES, 1.0], dtype=dtype, device=device)
        # c⁶ stays a normal number: others are many times slower on CPUs. Such tokens weigh nothing.
        self._least_weight = torch.finfo(dtype).tiny ** (1 / 6)

    def __call__(self, logits: Tensor, text: Tensor, is_first: Tensor, recent: Tensor) -> Forecast:
        """The numbers of p.

        Args:
            logits: (R, V) of the neutral stream, R at most N.
            text: (R, L) ids of the text, with any repeats (:attr:`TokenHistory.tokens`).
            is_first: (R, L) bool, one place for each distinct token of the text.
            recent: (R, 10) ids of the last tokens, -1 where there are fewer.
        """
        thirds, weights, powers = self._buffers[:, : len(logits)].unbind()
        torch.mul(logits, 1 / 3, out=thirds).clamp_(min=_LEAST_LOGIT / 3)
        torch.softmax(thirds, dim=1, out=weights)
        top_third, top_weight = thirds.amax(dim=1), weights.amax(dim=1)
        log_thirds = top_third - top_weight.log()  # (R,) log of the sum of exp(z/3)
        text_thirds = thirds.gather(1, text)  # (R, L)
        weights.clamp_(min=self._least_weight).scatter_(1, text, 0.0)  # from here on: the vocabulary without the text

        # For each temperature, the rest's sum of exp(z/T), up to a factor, and of z/3 exp(z/T).
        torch.mul(weights, weights, out=powers)
        weights.mul_(powers)
        totals = [powers.sum(dim=1), weights.sum(dim=1)]
        energies = [powers.mul_(thirds).sum(dim=1)]
        torch.mul(weights, weights, out=powers)
        energies.append(weights.mul_(thirds).sum(dim=1))
        totals.append(powers.sum(dim=1))
        energies.append(powers.mul_(thirds).sum(dim=1))
        rest_total = torch.stack((*totals, totals[1]), dim=1)  # (R, 4): three temperatures, and penalized
        rest_energy = torch.stack((*energies, energies[1]), dim=1)

        penalized = penalize(text_thirds, self._strongest_penalty)
        scores = torch.stack((text_thirds, text_thirds, text_thirds, penalized), dim=1)  # (R, 4, L)
        exponents = 3.0 / self._temperatures  # (4,)
        text_weights = ((scores - log_thirds[:, None, None]) * exponents[:, None]).exp_() * is_first.unsqueeze(1)
        text_total = text_weights.sum(dim=2)
        total = rest_total + text_total
        energy = rest_energy + (text_weights * scores).sum(dim=2)
        entropies = total.log() + exponents * (log_thirds.unsqueeze(1) - energy / total)

        normalizer = total[:, 1]
        log_normalizer = 3.0 * log_thirds + normalizer.log()
        return Forecast(
            log_normalizer=log_normalizer,
            entropies=entropies[:, [2, 1, 0, 3]],
            largest_probability=top_weight**3 / normalizer,
            text_mass=text_total[:, 1] / normalizer,
            recent_mass=_recent_mass(logits, log_normalizer, recent),
        )


def _recent_mass(logits: Tensor, log_normalizer: Tensor, recent: Tensor) -> Tensor:
    # A token that recurs within the window counts once, at its last place.
    recurs = (recent.unsqueeze(2) == recent.unsqueeze(1)).triu(diagonal=1).any(dim=2)  # (R, 10)
    probs = (logits.gather(1, recent.clamp(min=0)) - log_normalizer.unsqueeze(1)).exp()
    return (probs * (~recurs & (recent >= 0))).sum(dim=1)
