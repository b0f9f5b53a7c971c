"""Learns the values of actions beyond the next token, from the values of the tokens that they make likely.

The environment computes the immediate expected reward of an action exactly. Its later rewards are only observed after
one sampled token, which is a noisy signal. But the rewards after a token x depend on the token, and hardly on the
action under which it was drawn. So a network learns the value of tokens from all draws,

    value(s, x) ≈ E[A | s, x],   A the advantage after the token

(generalised advantage estimation, arXiv:1506.02438, on expected rewards). The probability of each token under an action
is known exactly:

    future(s, a) = Σ_x q_a(x) value(s, x)

The sum is exact for all candidate actions of a state. A second network learns it as a differentiable function of state
and action, for the policy's gradient. This neglects other effects of an action: on the gated stream's cache, and on the
previous gates in the next observation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from agents.training.warm_start.reward_surface import RewardSurface
from agents.training.warm_start.state_memory import StateMemory
from agents.training.warm_start.token_value import TokenValue
from lm.runs.tensors.saved_state import SavedState, joined, optimizer_state, restore_optimizer, write_into
from tidal_gym.dynamics.candidates import Prospects

RECENT_ROLLOUTS = 8
"""Number of rollouts whose advantages are recomputed with the current critic, and whose candidates are kept."""

WEIGHT_DECAY = 0.1
"""AdamW's weight decay; large, since advantages are noisy."""

NUM_DRAWS, NUM_STATES = 512, 64
"""Minibatch sizes: draws for the token values, and states for the action values, with some hundred tokens each."""

_RECENT = ("tokens", "q", "p")
"""Stored quantities of the newest states' candidates."""

Normalize = Callable[[NDArray[np.float32]], Tensor]
"""Function from observations (B, size) of the environment to normalised ones."""

Critic = Callable[[NDArray[np.float32]], Tensor]
"""Function from observations (B, size) of the environment to values (B,) in the critic's units."""


class LookAhead:
    """Learns the values of a warm start's actions beyond their immediate rewards.

    The return of an episode ends with its truncation, as in evaluations.

    Args:
        memory: visited states with their successors.
        rollout_steps: steps of a rollout.
        gamma: discount per token.
        gae_lambda: λ of generalised advantage estimation.
        embeddings: (V, D) token embeddings.
        normalize: normalisation of observations.
        critic: value function of states.
    """

    def __init__(
        self,
        memory: StateMemory,
        rollout_steps: int,
        gamma: float,
        gae_lambda: float,
        embeddings: Tensor,
        normalize: Normalize,
        critic: Critic,
    ) -> None:
        size, num_gates = memory.observations.shape[1], memory.actions.shape[2]
        self.future = RewardSurface(size, num_gates)
        """Action values beyond the next token, in the critic's units."""
        self._value = TokenValue(size, embeddings)
        self._memory, self._gamma, self._lambda = memory, gamma, gae_lambda
        self._normalize, self._critic = normalize, critic
        self._recent: deque[tuple[NDArray[np.number], ...]] = deque(maxlen=RECENT_ROLLOUTS * rollout_steps)
        self._candidates: list[NDArray[np.number]] = []  # tokens, q and p, (W, K, M) each, of the newest states
        parameters = [*self.future.parameters(), *self._value.parameters()]
        self._optimizer = torch.optim.AdamW(parameters, weight_decay=WEIGHT_DECAY, fused=True)
        self._unit = 1.0
        self._advantages = np.zeros(len(memory.rewards), np.float32)  # in units of the reward
        self._returns = np.zeros(len(memory.rewards), np.float32)  # in the critic's units, of the newest states

    def remember(self, prospects: Prospects) -> None:
        """Stores the sampling distributions of the candidates in the memory's newest states."""
        tokens, q, p = prospects.tokens, prospects.q, prospects.p
        self._recent.append((tokens.astype(np.int32), q.astype(np.float32), p.astype(np.float32)))

    def begin_phase(self, unit: float, learning_rate: float) -> None:
        """Recomputes the newest advantages with the current critic, whose unit is `unit` of reward."""
        self._optimizer.param_groups[0]["lr"] = learning_rate
        self._unit = unit
        self._candidates = [np.concatenate(column) for column in zip(*self._recent, strict=True)]
        memory, newest = self._memory, self._newest
        with torch.no_grad():
            values = self._critic(memory.observations[newest]).numpy().reshape(-1, memory.num_rows)
            last = self._critic(memory.following[newest][-memory.num_rows :]).numpy()
        advantages = gae(
            memory.rewards[newest, 0].reshape(values.shape) / unit,
            values,
            np.concatenate((values[1:], [last])),  # the successor of each state but the last is the next state
            memory.is_over[newest].reshape(values.shape),
            self._gamma,
            self._lambda,
        )
        self._advantages[newest] = unit * advantages.reshape(-1)
        self._returns[newest] = (advantages + values).reshape(-1)

    def descend(self, generator: np.random.Generator) -> None:
        """Takes one gradient step of the token values and one of the action values."""
        memory = self._memory
        rows = generator.integers(memory.count, size=NUM_DRAWS)
        drawn, p = (torch.as_tensor(column[rows]).unsqueeze(1) for column in (memory.tokens, memory.p))
        found = self._value(self._normalize(memory.observations[rows]), drawn, p).squeeze(1)
        value_loss = F.mse_loss(found, torch.as_tensor(self._advantages[rows] / self._unit))

        places = generator.integers(memory.count - self._newest.start, size=NUM_STATES)
        rows = self._newest.start + places
        states = self._normalize(memory.observations[rows])
        tokens, q, p = (torch.as_tensor(column[places]) for column in self._candidates)
        with torch.no_grad():
            values = self._value(states, tokens.flatten(1), p.flatten(1)).view(q.shape)
            target = (q * values).sum(dim=2)  # (B, K)
        promised = self.future(states, torch.as_tensor(memory.actions[rows]))
        future_loss = F.mse_loss(_differences(promised), _differences(target))

        self._optimizer.zero_grad()
        (value_loss + future_loss).backward()
        self._optimizer.step()

    def draw(self, generator: np.random.Generator, size: int) -> tuple[NDArray[np.float32], Tensor]:
        """Samples newest states: observations (B, size) and returns (B,) from there on."""
        rows = generator.integers(self._newest.start, self._newest.stop, size=size)
        return self._memory.observations[rows], torch.as_tensor(self._returns[rows])

    def state(self) -> SavedState:
        """State between two fitting phases, for checkpoints."""
        columns = (np.stack(column) for column in zip(*self._recent, strict=True))
        return SavedState(
            joined(
                future=self.future.state_dict(),
                value=self._value.state_dict(),
                optimizer=optimizer_state(self._optimizer),
                recent={name: torch.from_numpy(column) for name, column in zip(_RECENT, columns, strict=True)},
                learned={"advantages": torch.from_numpy(self._advantages)},
            )
        )

    def restore(self, state: SavedState) -> None:
        """Restores the state of :meth:`state`."""
        self.future.load_state_dict(state.part("future").tensors)
        self._value.load_state_dict(state.part("value").tensors)
        restore_optimizer(self._optimizer, state.part("optimizer").tensors)
        self._recent.extend(zip(*(state.part("recent").tensors[name].numpy() for name in _RECENT), strict=True))
        write_into({"advantages": torch.from_numpy(self._advantages)}, state.part("learned").tensors)

    @property
    def _newest(self) -> slice:
        return slice(self._memory.count - len(self._recent) * self._memory.num_rows, self._memory.count)


def gae(
    rewards: NDArray[np.floating],
    values: NDArray[np.floating],
    ahead: NDArray[np.floating],
    is_over: NDArray[np.bool_],
    gamma: float,
    gae_lambda: float,
) -> NDArray[np.floating]:
    """Generalised advantage estimates (T, N) of T steps of N rows; bootstraps with the critic after the last step.

    Args:
        rewards: (T, N) rewards.
        values: (T, N) values of the states.
        ahead: (T, N) values of the successor states.
        is_over: (T, N) whether the episode ended in the step.
        gamma: discount per step.
        gae_lambda: λ of the estimation.
    """
    errors = rewards + gamma * np.where(is_over, 0.0, ahead) - values
    advantages = np.zeros_like(errors)
    later = np.zeros(errors.shape[1])
    for step in reversed(range(len(errors))):
        later = errors[step] + gamma * gae_lambda * np.where(is_over[step], 0.0, later)
        advantages[step] = later
    return advantages


def _differences(values: Tensor) -> Tensor:
    """(B, K) values minus the mean of each row."""
    return values - values.mean(dim=1, keepdim=True)
