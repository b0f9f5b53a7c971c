"""The surface of expected rewards over states and actions, as a network learns it."""

from __future__ import annotations

from torch import Tensor, nn

STATE_WIDTH, JOINT_WIDTH = 256, 128
"""Hidden units that see the state alone, once for all of its actions; and those that see state and action together."""


class RewardSurface(nn.Module):
    """Expected rewards, in units of `scale` around `mean`, of several actions in each of B states.

    Args:
        observation_size: entries of an observation.
        action_size: entries of an action.
    """

    def __init__(self, observation_size: int, action_size: int) -> None:
        super().__init__()
        self.state = nn.Sequential(
            nn.Linear(observation_size, STATE_WIDTH), nn.SiLU(), nn.Linear(STATE_WIDTH, JOINT_WIDTH)
        )
        self.action = nn.Linear(action_size, JOINT_WIDTH)
        self.top = nn.Sequential(nn.SiLU(), nn.Linear(JOINT_WIDTH, JOINT_WIDTH), nn.SiLU(), nn.Linear(JOINT_WIDTH, 1))

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """(B, K) for observations (B, size), normalised, and actions (B, K, A) in the unit box."""
        joined = self.state(observations).unsqueeze(1) + self.action(4.0 * actions - 2.0)
        return self.top(joined).squeeze(2)
