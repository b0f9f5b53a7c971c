"""What follows the next token, as far as an action decides it: by which token it makes likely.

An action earns something at once, which the environment tells exactly, and leads somewhere, which shows only in the one
token x that was drawn, under the action that was taken. But any other action a would have drawn x too, with another
probability, so that x says something about all of them:

    future(s, a) = E[ A · q_a(x) / q_taken(x) ]   up to what all actions of a state have in common

A is the advantage of what came after x (generalised advantage estimation, arXiv:1506.02438, on expected rewards). This
is importance sampling over a single draw whose probabilities are known exactly; it needs no spread among the actions
that are taken, and has a fraction of the noise of comparing them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from agents.reward_surface import RewardSurface
from agents.state_memory import StateMemory

GAE_LAMBDA = 0.9
"""λ of the advantages: how much is taken from what was earned, the rest from what the critic expects."""

LARGEST_RATIO = 5.0
"""Ratios of likelihoods are clipped here, which keeps rare tokens from drowning the others."""

RECENT_ROLLOUTS = 8
"""Rollouts whose advantages follow the critic; those of older ones stay as they were last."""

WEIGHT_DECAY = 0.1
"""Of AdamW: the targets are nearly all noise."""

LEARNING_RATE_SHARE = 0.5
"""Learning rate of the network, as a share of the warm start's."""


Critic = Callable[[NDArray[np.float32]], Tensor]
"""Values (B,) of observations (B, size) as the environment gives them."""


class LookAhead:
    """Learns what follows the actions of a warm start's states, beyond their immediate reward.

    Args:
        memory: the states; what came after them is read from here.
        rollout: states of one rollout of all envs.
        gamma: discount. An episode is worth what it earns until it ends, by truncation too.
        surface: an untrained network, which learns :attr:`future`, in the critic's units.
    """

    def __init__(self, memory: StateMemory, rollout: int, gamma: float, surface: RewardSurface) -> None:
        self.future = surface
        self._memory, self._gamma = memory, gamma
        self._window = RECENT_ROLLOUTS * rollout
        self._optimizer = torch.optim.AdamW(surface.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
        self._advantages = np.zeros(len(memory.rewards), np.float32)
        self._returns = np.zeros(len(memory.rewards), np.float32)

    def begin_phase(self, critic: Critic, unit: float, learning_rate: float) -> None:
        """See the newest states through the critic as it is now, with rewards divided by `unit`."""
        self._optimizer.param_groups[0]["lr"] = LEARNING_RATE_SHARE * learning_rate
        memory = self._memory
        newest = self._newest
        with torch.no_grad():
            values = critic(memory.observations[newest]).numpy().reshape(-1, memory.num_rows)
            last = critic(memory.following[newest][-memory.num_rows :]).numpy()
        advantages = gae(
            memory.rewards[newest, 0].reshape(values.shape) / unit,
            values,
            np.concatenate(
                (values[1:], last[np.newaxis])
            ),  # what followed a state that was not the last is the next one
            memory.is_over[newest].reshape(values.shape),
            self._gamma,
        )
        self._advantages[newest] = advantages.reshape(-1)
        self._returns[newest] = (advantages + values).reshape(-1)

    def descend(self, states: Tensor, rows: NDArray[np.integer]) -> None:
        """A step of learning from the rows (B,) of the memory, whose normalised observations are `states`."""
        ratios = torch.as_tensor(self._memory.ratios[rows]).clamp(max=LARGEST_RATIO)  # (B, K)
        target = _differences(ratios) * torch.as_tensor(self._advantages[rows]).unsqueeze(1)
        found = _differences(self.future(states, torch.as_tensor(self._memory.actions[rows])))
        self._optimizer.zero_grad()
        F.mse_loss(found, target).backward()
        self._optimizer.step()

    def draw(self, generator: np.random.Generator, size: int) -> tuple[NDArray[np.float32], Tensor]:
        """Observations (B, size) of some of the newest states, and what was earned from there on, (B,)."""
        newest = self._newest
        rows = generator.integers(newest.start, newest.stop, size=size)
        return self._memory.observations[rows], torch.as_tensor(self._returns[rows])

    @property
    def _newest(self) -> slice:
        return slice(max(0, self._memory.count - self._window), self._memory.count)


def gae(
    rewards: NDArray[np.floating],
    values: NDArray[np.floating],
    ahead: NDArray[np.floating],
    is_over: NDArray[np.bool_],
    gamma: float,
) -> NDArray[np.floating]:
    """Advantages (T, N) of T steps of N rows; what comes after the last step is what the critic expects.

    Args:
        rewards: (T, N).
        values: (T, N) of the states.
        ahead: (T, N) of the states that followed.
        is_over: (T, N) whether the episode ended in the step.
        gamma: discount.
    """
    errors = rewards + gamma * np.where(is_over, 0.0, ahead) - values
    advantages = np.zeros_like(errors)
    later = np.zeros(errors.shape[1])
    for step in reversed(range(len(errors))):
        later = errors[step] + gamma * GAE_LAMBDA * np.where(is_over[step], 0.0, later)
        advantages[step] = later
    return advantages


def _differences(values: Tensor) -> Tensor:
    """(B, K) less the mean of each row."""
    return values - values.mean(dim=1, keepdim=True)
