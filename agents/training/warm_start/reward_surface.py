"""A network for the expected reward as a function of state and action."""

from __future__ import annotations

from torch import Tensor, nn

STATE_WIDTH, JOINT_WIDTH = 256, 128
"""Widths of the state layer, evaluated once per state, and of the joint layer of state and action."""


class RewardSurface(nn.Module):
    """Network for the expected rewards of several actions in each of B states, in units of `scale` around `mean`.

    Args:
        observation_size: size of an observation.
        action_size: size of an action.
    """

    def __init__(self, observation_size: int, action_size: int) -> None:
        super().__init__()
        self.state = nn.Sequential(
            nn.Linear(observation_size, STATE_WIDTH), nn.SiLU(), nn.Linear(STATE_WIDTH, JOINT_WIDTH)
        )
        self.action = nn.Linear(action_size, JOINT_WIDTH)
        self.top = nn.Sequential(nn.SiLU(), nn.Linear(JOINT_WIDTH, JOINT_WIDTH), nn.SiLU(), nn.Linear(JOINT_WIDTH, 1))

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Expected rewards (B, K) for normalised observations (B, size) and actions (B, K, A) in the unit box."""
        joined = self.state(observations).unsqueeze(1) + self.action(4.0 * actions - 2.0)
        return self.top(joined).squeeze(2)
