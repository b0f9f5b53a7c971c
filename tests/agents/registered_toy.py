"""Registers environments as a user's module would."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class ToyEnv(gymnasium.Env):
    """Ten steps; the reward is minus the distance of the action from `target`."""

    def __init__(self, *, model: str = "none", target: float = 0.25) -> None:
        self.model, self.target = model, target
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return observation, -abs(float(action[0]) - self.target), False, False, {}


gymnasium.register("Toy-v0", entry_point=ToyEnv, max_episode_steps=10)
gymnasium.register(
    "ShortGating-v0",
    entry_point="tidal_gym.envs.env:TidalGatingEnv",
    vector_entry_point="tidal_gym.envs.vector_env:TidalGatingVectorEnv",
    max_episode_steps=4,
)
