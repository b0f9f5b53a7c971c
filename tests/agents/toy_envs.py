"""Small vector envs with known answers."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from tidal_gym.dynamics.candidates import Prospects


class CountingVectorEnv(VectorEnv):
    """Observation (row, step of the episode); reward 100 row + step; row 0 terminates at 3, row r truncates at 2 + r.

    It reuses its arrays between steps, which a VectorEnv may do and SB3 cannot bear.
    """

    def __init__(self, num_envs: int = 3, autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": autoreset_mode}
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.label = "counting"
        self.seed_seen: int | None = None
        self._observations = np.zeros((num_envs, 2), np.float32)
        self._rewards = np.zeros(num_envs)
        self._steps = np.zeros(num_envs, int)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.seed_seen = seed
        self._steps[:] = 0
        self._observe()
        rows = np.arange(self.num_envs)
        return self._observations, {"row": rows, "_row": np.ones(self.num_envs, bool)}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        rows = np.arange(self.num_envs)
        self._steps += 1
        self._rewards[:] = 100 * rows + self._steps
        terminations = (rows == 0) & (self._steps == 3)
        truncations = (rows > 0) & (self._steps == 2 + rows)
        dones = terminations | truncations
        infos: dict[str, Any] = {"steps": self._steps.copy(), "_steps": np.ones(self.num_envs, bool)}
        if dones.any():
            self._observe()
            infos["final_obs"], infos["_final_obs"] = self._observations.copy(), dones
            infos["final_info"] = {"steps": self._steps.copy(), "_steps": dones}
            infos["_final_info"] = dones
            self._steps[dones] = 0
        self._observe()
        return self._observations, self._rewards, terminations, truncations, infos

    def scaled_label(self, factor: int) -> str:
        return self.label * factor

    def render(self) -> Any:
        return tuple(np.full((4, 4, 3), row, np.uint8) for row in range(self.num_envs))

    def _observe(self) -> None:
        self._observations[:, 0] = np.arange(self.num_envs)
        self._observations[:, 1] = self._steps


class TargetVectorEnv(VectorEnv):
    """One-step episodes: observe x in [-1, 1], reward -|a - (x + 1) / 2| summed over two action dimensions."""

    def __init__(self, num_envs: int = 32) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(np.zeros(2, np.float32), np.array([1, 4], np.float32))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._states = self._draw()
        return self._states.copy(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        target = (self._states + 1) / 2
        rewards = -np.abs(actions / np.array([1, 4]) - target).sum(axis=1)
        done = np.ones(self.num_envs, bool)
        infos = {"final_obs": self._states.copy(), "_final_obs": done}
        self._states = self._draw()
        return self._states.copy(), rewards, done, np.zeros(self.num_envs, bool), infos

    def _draw(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, (self.num_envs, 2)).astype(np.float32)


class ValleyVectorEnv(VectorEnv):
    """One-step episodes: observe x in [-1, 1]²; expected reward -2 |a - best|², with best = (0.1 + 0.4 (x + 1), ½).

    What is drawn is the expectation and noise. It offers ``prospects``, as the environments of texts
    do; there is one token.
    """

    def __init__(self, num_envs: int = 32) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(0.0, 1.0, (3,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    @staticmethod
    def best(states: np.ndarray) -> np.ndarray:
        """(N, 3) for states (N, 2)."""
        return np.concatenate((0.1 + 0.4 * (states + 1), np.full((len(states), 1), 0.5)), axis=1)

    def expected_rewards(self, actions: np.ndarray) -> np.ndarray:
        """(N, A) for actions (A, N, 3)."""
        return -2.0 * ((actions - self.best(self._states)) ** 2).sum(axis=2).T

    def prospects(self, actions: np.ndarray) -> Prospects:
        """For actions (A, N, 3)."""
        expected = self.expected_rewards(actions)
        only = np.ones((*expected.shape, 1))
        return Prospects(expected, np.zeros(only.shape, int), only, only)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._states = self._draw()
        return self._states.copy(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        rewards = self.expected_rewards(actions[None])[:, 0] + self.np_random.normal(size=self.num_envs)
        done = np.ones(self.num_envs, bool)
        final_info = {"token": np.zeros(self.num_envs, int), "log_prob": np.zeros(self.num_envs)}
        infos = {"final_obs": self._states.copy(), "_final_obs": done, "final_info": final_info}
        self._states = self._draw()
        return self._states.copy(), rewards, done, np.zeros(self.num_envs, bool), infos

    def _draw(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, (self.num_envs, 2)).astype(np.float32)


class ForkVectorEnv(VectorEnv):
    """Episodes of 9 steps: observe x and the step; the first action's creativity is the probability of token 1.

    It costs 0.2 times that probability at once. Every later step pays x / 8, whatever one does, if the first token was
    1: far ahead it is best to draw 1 where x is above 0.2, and for the next token alone it never is. Truncated at the
    end.
    """

    LATER_STEPS = 8

    def __init__(self, num_envs: int = 32) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(0.0, 1.0, (3,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def token_embeddings(self) -> torch.Tensor:
        """(2, 2)."""
        return torch.eye(2)

    def prospects(self, actions: np.ndarray) -> Prospects:
        """For actions (A, N, 3)."""
        wanted = actions[..., 0].T.astype(float)  # (N, A)
        paid = np.broadcast_to((self._wishes * self._first / self.LATER_STEPS)[:, None], wanted.shape)
        q = np.stack((1 - wanted, wanted), axis=2)
        tokens, p = np.broadcast_to(np.arange(2), q.shape), np.full(q.shape, 0.5)
        return Prospects(np.where(self._step > 0, paid, -0.2 * wanted), tokens, q, p)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self._begin(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        rewards = self.prospects(actions[None]).expected_rewards[:, 0]
        drawn = (self.np_random.random(self.num_envs) < actions[:, 0]).astype(int)
        infos = {"token": drawn, "log_prob": np.full(self.num_envs, np.log(0.5))}
        none, every = np.zeros(self.num_envs, bool), np.ones(self.num_envs, bool)
        if self._step == 0:
            self._first = drawn
        self._step += 1
        if self._step <= self.LATER_STEPS:
            return self._observe(), rewards, none, none, infos
        infos = {"final_obs": self._observe(), "_final_obs": every, "final_info": infos}
        return self._begin(), rewards, none, every, infos

    def _begin(self) -> np.ndarray:
        self._wishes = self.np_random.uniform(-1, 1, self.num_envs)
        self._first, self._step = np.zeros(self.num_envs, int), 0
        return self._observe()

    def _observe(self) -> np.ndarray:
        progress = np.full(self.num_envs, self._step / self.LATER_STEPS)
        return np.stack((self._wishes, progress.clip(max=1.0), self._first), axis=1).astype(np.float32)


class SpendingVectorEnv(VectorEnv):
    """Episodes of 4 steps: see a wish x, 0.5 or 1, and the step; action a in [0, 1] costs a and earns -(x - a)².

    Who may spend what he likes spends x, 3 an episode in the mean. With a limit of 2 it is best to spend a quarter less
    than one wishes, whatever that is: -(x - a)² - λ a is largest at a = x - λ/2, and λ = 1/2 makes the mean 2. Even
    rows terminate, odd rows are truncated.
    """

    def __init__(self, num_envs: int = 32, has_cost: bool = True) -> None:
        self.num_envs = num_envs
        self.has_cost = has_cost
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(0.0, 4.0, (2,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._is_even = np.arange(num_envs) % 2 == 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._step = 0
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        spent = actions[:, 0].astype(float)
        rewards = -((self._wishes - spent) ** 2)
        self._step += 1
        is_over = np.full(self.num_envs, self._step == 4)
        observations = self._observe()
        infos: dict[str, Any] = {}
        costs = {"cost": spent, "_cost": np.ones(self.num_envs, bool)} if self.has_cost else {}
        if self._step == 4:
            infos = {"final_obs": observations, "_final_obs": is_over, "final_info": costs, "_final_info": is_over}
            self._step = 0
            observations = self._observe()
        else:
            infos = costs
        return observations, rewards, is_over & self._is_even, is_over & ~self._is_even, infos

    def _observe(self) -> np.ndarray:
        self._wishes = self.np_random.choice([0.5, 1.0], self.num_envs)
        return np.stack([self._wishes, np.full(self.num_envs, self._step)], axis=1).astype(np.float32)
