"""A network for the value of drawing a token in a state."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STATE_WIDTH, JOINT_WIDTH = 128, 64
"""Widths of the state layer, evaluated once per state, and of the joint layer of state and token."""

LEAST_PROBABILITY = 1e-5
"""Lower limit of token probabilities in the input."""


class TokenValue(nn.Module):
    """Network for the advantage after drawing a token in a state.

    Args:
        observation_size: size of an observation.
        embeddings: (V, D) token embeddings, which are not trained.
    """

    embeddings: Tensor

    def __init__(self, observation_size: int, embeddings: Tensor) -> None:
        super().__init__()
        centered = embeddings - embeddings.mean(dim=0)
        self.register_buffer("embeddings", centered / centered.std(), persistent=False)
        self.state = nn.Sequential(
            nn.Linear(observation_size, STATE_WIDTH), nn.SiLU(), nn.Linear(STATE_WIDTH, JOINT_WIDTH)
        )
        self.token = nn.Linear(embeddings.shape[1], JOINT_WIDTH, bias=False)
        self.chance = nn.Linear(2, JOINT_WIDTH, bias=False)
        self.top = nn.Linear(JOINT_WIDTH, 1)
        nn.init.zeros_(self.top.weight)

    def forward(self, observations: Tensor, tokens: Tensor, p: Tensor) -> Tensor:
        """Values (B, M) for normalised observations (B, size), and ids and neutral probabilities (B, M) of tokens."""
        surprise = -p.clamp(min=LEAST_PROBABILITY).log()
        chance = self.chance(torch.stack((1.0 - surprise / 3.0, p), dim=2))
        seen = self.token(self.embeddings)[tokens]  # each token is projected once, even if it occurs often
        joined = self.state(observations).unsqueeze(1) + seen + chance
        return self.top(F.silu(joined)).squeeze(2)
