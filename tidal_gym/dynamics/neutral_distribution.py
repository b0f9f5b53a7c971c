"""Statistics of the neutral distribution p over the next token, for observations and rewards.

They need few passes over the logits z. With c = softmax(z/3), the unnormalized probabilities at temperatures 1.5, 1
and 0.5 are c², c³ and c⁶, so that one exponential gives three entropies. The text's tokens and the rest of the
vocabulary are summed separately. The text's sum is its probability mass; with penalized logits in its place, the same
sums give the entropy under repetition penalty, without another pass and without cancellation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tidal_gym.dynamics.repetition_penalty import penalize

TEMPERATURES = (0.5, 1.0, 1.5)
"""Temperatures at which the observation shows the entropy of p."""

_LEAST_LOGIT = -1e4
"""Lower limit of logits: its probability is 0 in every data type, and sums stay finite."""


class NeutralDistribution(NamedTuple):
    """Statistics of the neutral distribution p over the next token, for N rows."""

    log_normalizer: Tensor
    """(N,) log of the sum of exp(logits)."""
    entropies: Tensor
    """(N, 4) entropy [nats] at the temperatures 0.5, 1 and 1.5, and under the strongest repetition penalty."""
    largest_probability: Tensor
    """(N,) largest probability, in (0, 1]."""
    text_mass: Tensor
    """(N,) probability mass of the text's tokens, in [0, 1]."""
    recent_mass: Tensor
    """(N,) probability mass of the last 10 tokens, in [0, 1]."""


_BLOCK = 2**20
"""Number of logits in a block, which fits into the processor's cache."""


class _Rest(NamedTuple):
    """Sums over the vocabulary without the text's tokens, and the terms to add those tokens; R rows."""

    log_thirds: Tensor
    """(R,) log of the sum of exp(z/3) over the whole vocabulary."""
    top_weight: Tensor
    """(R,) the largest c."""
    text_thirds: Tensor
    """(R, L) z/3 of the text's tokens."""
    total: Tensor
    """(R, 3) sum of exp(z/T), up to a factor, for each temperature."""
    energy: Tensor
    """(R, 3) sum of z/3 exp(z/T), up to the same factor."""


class NeutralDistributionMeter:
    """Computes :class:`NeutralDistribution` in preallocated memory: allocating costs more than the sums.

    Args:
        vocab_size: V.
        strongest_penalty: the largest repetition penalty that an action can set.
        dtype: data type of the logits.
        device: device of the logits.
    """

    def __init__(
        self, vocab_size: int, strongest_penalty: float, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        self._strongest_penalty = strongest_penalty
        self._buffers = torch.empty(3, max(1, _BLOCK // vocab_size), vocab_size, dtype=dtype, device=device)
        exponents = [3.0 / temperature for temperature in (*TEMPERATURES, 1.0)]
        self._exponents = torch.tensor(exponents, dtype=torch.float32).to(device, dtype)
        # Keeps c⁶ a normal number: subnormal ones are slow on CPUs. The weights of such tokens are negligible.
        self._least_weight = torch.finfo(dtype).tiny ** (1 / 6)

    def __call__(self, logits: Tensor, text: Tensor, is_first: Tensor, recent: Tensor) -> NeutralDistribution:
        """Computes the statistics of p.

        Args:
            logits: (R, V) logits of the neutral stream.
            text: (R, L) token ids of the text (:attr:`TokenHistory.tokens`).
            is_first: (R, L) bool, True at one position of each distinct token of the text.
            recent: (R, 10) ids of the last tokens, padded with -1.
        """
        blocks = zip(*(tensor.split(self._buffers.shape[1]) for tensor in (logits, text)), strict=True)
        rests = [self._sum_rest(*block) for block in blocks]
        rest = rests[0] if len(rests) == 1 else _Rest(*map(torch.cat, zip(*rests, strict=True)))

        penalized = penalize(rest.text_thirds, self._strongest_penalty)
        scores = torch.stack((rest.text_thirds, rest.text_thirds, rest.text_thirds, penalized), dim=1)  # (R, 4, L)
        relative = (scores - rest.log_thirds[:, None, None]) * self._exponents[:, None]
        text_weights = relative.exp_() * is_first.unsqueeze(1)
        text_total = text_weights.sum(dim=2)  # (R, 4): the three temperatures, and penalized at temperature 1
        total = torch.cat((rest.total, rest.total[:, 1:2]), dim=1) + text_total
        energy = torch.cat((rest.energy, rest.energy[:, 1:2]), dim=1) + (text_weights * scores).sum(dim=2)

        normalizer = total[:, 1]
        log_normalizer = 3.0 * rest.log_thirds + normalizer.log()
        return NeutralDistribution(
            log_normalizer=log_normalizer,
            entropies=total.log() + self._exponents * (rest.log_thirds.unsqueeze(1) - energy / total),
            largest_probability=rest.top_weight**3 / normalizer,
            text_mass=text_total[:, 1] / normalizer,
            recent_mass=_recent_mass(logits, log_normalizer, recent),
        )

    def _sum_rest(self, logits: Tensor, text: Tensor) -> _Rest:
        thirds, weights, powers = self._buffers[:, : len(logits)].unbind()
        torch.mul(logits, 1 / 3, out=thirds).clamp_(min=_LEAST_LOGIT / 3)
        torch.softmax(thirds, dim=1, out=weights)
        top_weight = weights.amax(dim=1)
        log_thirds = thirds.amax(dim=1) - top_weight.log()
        text_thirds = thirds.gather(1, text)
        weights.clamp_(min=self._least_weight).scatter_(1, text, 0.0)

        torch.mul(weights, weights, out=powers)  # c²
        weights.mul_(powers)  # c³
        total_hot, total_plain = powers.sum(dim=1), weights.sum(dim=1)
        energy_hot = powers.mul_(thirds).sum(dim=1)
        torch.mul(weights, weights, out=powers)  # c⁶
        energy_plain = weights.mul_(thirds).sum(dim=1)
        total_cold = powers.sum(dim=1)
        energy_cold = powers.mul_(thirds).sum(dim=1)
        total = torch.stack((total_cold, total_plain, total_hot), dim=1)
        return _Rest(
            log_thirds, top_weight, text_thirds, total, torch.stack((energy_cold, energy_plain, energy_hot), 1)
        )


def _recent_mass(logits: Tensor, log_normalizer: Tensor, recent: Tensor) -> Tensor:
    # A repeated token within the window counts once, at its last position.
    recurs = (recent.unsqueeze(2) == recent.unsqueeze(1)).triu(diagonal=1).any(dim=2)  # (R, 10)
    probs = (logits.gather(1, recent.clamp(min=0)) - log_normalizer.unsqueeze(1)).exp()
    return (probs * (~recurs & (recent >= 0))).sum(dim=1)
