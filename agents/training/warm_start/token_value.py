"""What a token leads to, as a network learns it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STATE_WIDTH, JOINT_WIDTH = 128, 64
"""Hidden units that see the state alone, once for all of its tokens; and those that see state and token together."""

LEAST_PROBABILITY = 1e-5
"""Less likely tokens count as if they were as likely as this."""


class TokenValue(nn.Module):
    """What follows the draw of a token, more than was to be expected in the state in which it is drawn.

    Args:
        observation_size: entries of an observation.
        embeddings: (V, D) of the tokens, which are not trained.
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
        """(B, M) for observations (B, size), normalised, and ids and neutral probabilities (B, M) of M tokens each."""
        surprise = -p.clamp(min=LEAST_PROBABILITY).log()
        chance = self.chance(torch.stack((1.0 - surprise / 3.0, p), dim=2))
        seen = self.token(self.embeddings)[tokens]  # every token is seen once, however often it is asked about
        joined = self.state(observations).unsqueeze(1) + seen + chance
        return self.top(F.silu(joined)).squeeze(2)
