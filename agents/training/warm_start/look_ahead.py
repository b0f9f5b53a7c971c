"""What follows the next token, as far as an action decides it: by which tokens it makes likely.

An action earns something at once, which the environment tells exactly, and leads somewhere, which shows only in what is
earned after one draw: little signal in much noise. But what follows a token x hangs on the token, hardly on the action
under which it was drawn. So every draw teaches a network what its token leads to,

    value(s, x) ≈ E[A | s, x],   A the advantage of what came after it

(generalised advantage estimation, arXiv:1506.02438, on expected rewards), and how likely each token is under an action
is known exactly:

    future(s, a) = Σ_x q_a(x) value(s, x)

The sum is exact for all candidates of a state, whichever was taken. A second network learns it as a function of state
and action, which the policy can climb. What is left out are an action's other traces: the gates that the gated stream's
keys remember, and those that the next observation tells.
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
from lm.runs.saved_state import SavedState, joined, optimizer_state, restore_optimizer, write_into
from tidal_gym.dynamics.candidates import Prospects

RECENT_ROLLOUTS = 8
"""Rollouts whose advantages follow the critic, and whose candidates are kept; older advantages stay as they were."""

WEIGHT_DECAY = 0.1
"""Of AdamW: advantages are nearly all noise."""

NUM_DRAWS, NUM_STATES = 512, 64
"""Draws that a step learns values from, and states whose candidates it asks for them, with some hundred tokens each."""

_RECENT = ("tokens", "q", "p")
"""What is kept of the newest states' candidates."""

Normalize = Callable[[NDArray[np.float32]], Tensor]
"""Observations (B, size), normalised, from those that the environment gives."""

Critic = Callable[[NDArray[np.float32]], Tensor]
"""Values (B,) of observations (B, size) as the environment gives them, in the critic's units."""


class LookAhead:
    """Learns what follows the actions of a warm start's states, beyond their immediate reward.

    An episode is worth what it earns until it ends, by truncation too, as an evaluation counts it.

    Args:
        memory: the states; what came after them is read from here.
        rollout_steps: steps of a rollout.
        gamma: discount.
        gae_lambda: λ of the advantages: how much of them is taken from what was earned, the rest from the critic.
        embeddings: (V, D) of the tokens.
        normalize: of observations.
        critic: what is to be expected in a state.
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
        """In the critic's units."""
        self._value = TokenValue(size, embeddings)
        self._memory, self._gamma, self._lambda = memory, gamma, gae_lambda
        self._normalize, self._critic = normalize, critic
        self._recent: deque[tuple[NDArray[np.number], ...]] = deque(maxlen=RECENT_ROLLOUTS * rollout_steps)
        self._candidates: list[NDArray[np.number]] = []  # tokens, q and p, (W, K, M) each, of the newest states
        parameters = [*self.future.parameters(), *self._value.parameters()]
        self._optimizer = torch.optim.AdamW(parameters, weight_decay=WEIGHT_DECAY, fused=True)
        self._unit = 1.0
        self._advantages = np.zeros(len(memory.rewards), np.float32)  # in units of the reward
        self._returns = np.zeros(len(memory.rewards), np.float32)  # in the critic's, of the newest states

    def remember(self, prospects: Prospects) -> None:
        """Keeps what could have been drawn in the memory's newest states."""
        tokens, q, p = prospects.tokens, prospects.q, prospects.p
        self._recent.append((tokens.astype(np.int32), q.astype(np.float32), p.astype(np.float32)))

    def begin_phase(self, unit: float, learning_rate: float) -> None:
        """Sees the newest states through the critic as it is now, one of whose units is `unit` of reward."""
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
            np.concatenate((values[1:], [last])),  # what followed a state that was not the last is the next one
            memory.is_over[newest].reshape(values.shape),
            self._gamma,
            self._lambda,
        )
        self._advantages[newest] = unit * advantages.reshape(-1)
        self._returns[newest] = (advantages + values).reshape(-1)

    def descend(self, generator: np.random.Generator) -> None:
        """A step of learning, what draws led to and where candidates lead."""
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
        """Observations (B, size) of some of the newest states, and what was earned from there on, (B,)."""
        rows = generator.integers(self._newest.start, self._newest.stop, size=size)
        return self._memory.observations[rows], torch.as_tensor(self._returns[rows])

    def state(self) -> SavedState:
        """All that it has learned and keeps in mind, between two phases."""
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
        """Take it up."""
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
    """Advantages (T, N) of T steps of N rows; what comes after the last step is what the critic expects.

    Args:
        rewards: (T, N).
        values: (T, N) of the states.
        ahead: (T, N) of the states that followed.
        is_over: (T, N) whether the episode ended in the step.
        gamma: discount.
        gae_lambda: λ.
    """
    errors = rewards + gamma * np.where(is_over, 0.0, ahead) - values
    advantages = np.zeros_like(errors)
    later = np.zeros(errors.shape[1])
    for step in reversed(range(len(errors))):
        later = errors[step] + gamma * gae_lambda * np.where(is_over[step], 0.0, later)
        advantages[step] = later
    return advantages


def _differences(values: Tensor) -> Tensor:
    """(B, K) less the mean of each row."""
    return values - values.mean(dim=1, keepdim=True)
