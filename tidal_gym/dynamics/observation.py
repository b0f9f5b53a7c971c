"""The observation: 64 features of a generation.

The docstring of :class:`tidal_gym.envs.env.TidalGatingEnv` defines their order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lm.errors import InvalidValueError
from lm.models.gate_names import GATE_NAMES
from tidal_gym.dynamics.neutral_distribution import NeutralDistribution

NUM_CHUNKS = 24
"""Number of chunks of the hidden state in the observation; also the minimum width of a model."""

LARGEST_SURPRISAL = math.log(100.0)
"""C [nats]: maximum surprisal in observation and reward; the surprisal of a token with probability 1%."""

OBSERVATION_NAMES = (
    "entropy at temperature 0.5",
    "entropy at temperature 1.0",
    "entropy at temperature 1.5",
    "entropy under the strongest repetition penalty",
    "largest probability",
    "probability of tokens in the text",
    "probability of the last 10 tokens",
    "repetition ratio",
    "distinct-2",
    "surprisal of the newest token",
    *(f"hidden state, mean of chunk {chunk}" for chunk in range(NUM_CHUNKS)),
    *(f"hidden state, standard deviation of chunk {chunk}" for chunk in range(NUM_CHUNKS)),
    "progress",
    "context in use",
    *(f"previous {name}" for name in GATE_NAMES),
    "entropy of the last sampling distribution",
)
"""Name of each of the 64 entries."""

OBSERVATION_SIZE = len(OBSERVATION_NAMES)


class Trace(NamedTuple):
    """Features of the generation so far, for N rows."""

    repetition_ratio: Tensor
    """(N,) repetition ratio of the text: 1 - distinct-1."""
    distinct_bigrams: Tensor
    """(N,) distinct-2 of the text."""
    surprisal: Tensor
    """(N,) surprisal of the newest token under p [nats]."""
    progress: Tensor
    """(N,) steps taken / episode limit."""
    context_use: Tensor
    """(N,) tokens in the context / tokens that the model can attend to."""
    gates: Tensor
    """(N, 3) gates of the last action."""
    sampling_entropy: Tensor
    """(N,) entropy of the distribution that the newest token was drawn from [nats]."""


class HiddenSummary:
    """Computes means and standard deviations of 24 near-equal chunks of hidden states.

    As in ``numpy.array_split``, the first ``width % 24`` chunks have one element more. The standard deviation is that
    of the population.

    Args:
        width: hidden size D of the model.

    Raises:
        InvalidValueError: the width is below 24.
    """

    def __init__(self, width: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> None:
        if width < NUM_CHUNKS:
            raise InvalidValueError("model", f"must have a hidden state at least {NUM_CHUNKS} wide", f"width {width}")
        sizes = torch.tensor([width // NUM_CHUNKS + (chunk < width % NUM_CHUNKS) for chunk in range(NUM_CHUNKS)])
        self._chunk_of = torch.arange(NUM_CHUNKS).repeat_interleave(sizes).to(device)  # (D,)
        is_member = torch.nn.functional.one_hot(self._chunk_of, NUM_CHUNKS)  # (D, 24)
        self._averaging = is_member.to(device=device, dtype=dtype) / sizes.to(device=device, dtype=dtype)

    def __call__(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations, (N, 24) each, of hidden states (N, D)."""
        hidden = hidden.to(self._averaging.dtype)
        means = hidden @ self._averaging
        deviations = hidden - means[:, self._chunk_of]
        return means, ((deviations * deviations) @ self._averaging).sqrt()


def observe(neutral: NeutralDistribution, hidden: tuple[Tensor, Tensor], trace: Trace, human_entropy: float) -> Tensor:
    """Makes the observations (N, 64), float32.

    Args:
        neutral: p over the token about to be drawn.
        hidden: means and standard deviations (N, 24) of the neutral stream's final hidden state at the newest token.
        trace: features of the generation so far.
        human_entropy: H*, mean entropy of the model on human text [nats].
    """
    scalars = (
        neutral.largest_probability,
        neutral.text_mass,
        neutral.recent_mass,
        trace.repetition_ratio,
        trace.distinct_bigrams,
        trace.surprisal.clamp(max=LARGEST_SURPRISAL) / LARGEST_SURPRISAL,
    )
    parts = (
        neutral.entropies / human_entropy - 1.0,
        torch.stack(scalars, dim=1),
        *hidden,
        torch.stack((trace.progress, trace.context_use), dim=1),
        trace.gates,
        (trace.sampling_entropy / human_entropy - 1.0).unsqueeze(1),
    )
    return torch.cat([part.float() for part in parts], dim=1)
