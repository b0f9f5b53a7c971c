"""Replaces rewards by their exact expectations before the token is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.episodes.sb3_adapter import VectorEnvToSB3
from tidal_gym.envs.infos import of_step

INFO_KEY = "expected_reward"


class ExpectedReward(VecEnvWrapper):
    """Wrapper whose reward is E[r | state, action], summed exactly over the sampling distribution.

    Token sampling adds variance to the reward and no information about the action. The expectation has the same mean
    and less variance, so the policy gradient estimate stays unbiased with less noise (Rao-Blackwell).

    Args:
        venv: wrapped `adapter`; wrappers below this one see the rewards of the drawn tokens.
        adapter: adapter of a vector env that was made with ``expected_reward=True``.
    """

    def __init__(self, venv: VecEnv, adapter: VectorEnvToSB3) -> None:
        super().__init__(venv)
        self._adapter = adapter

    def reset(self) -> VecEnvObs:
        """Resets all rows."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Steps all rows, and replaces the rewards (N,)."""
        observations, _, dones, infos = self.venv.step_wait()
        expected = expected_reward_of(self._adapter.vector_infos, dones)
        return observations, expected.astype(np.float32), dones, infos


def expected_reward_of(infos: dict[str, Any], is_over: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) expected reward of each row, from the infos of an env made with ``expected_reward=True``."""
    return of_step(infos, INFO_KEY, is_over)
