"""Learning from what a reward was expected to be, in place of what the drawn token happened to earn."""

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
    """Pays E[r | state, action], summed exactly over the tokens that the action could have drawn.

    The draw adds variance to a reward and says nothing about the action. The expectation has the same mean, so that the
    policy gradient has the same direction, and less noise (Rao-Blackwell).

    Args:
        venv: wrappers around `adapter`, which keep the rewards they saw.
        adapter: of a vector env that was made with ``expected_reward=True``.
    """

    def __init__(self, venv: VecEnv, adapter: VectorEnvToSB3) -> None:
        super().__init__(venv)
        self._adapter = adapter

    def reset(self) -> VecEnvObs:
        """Start every episode."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step every row, and replace the rewards (N,)."""
        observations, _, dones, infos = self.venv.step_wait()
        expected = expected_reward_of(self._adapter.vector_infos, dones)
        return observations, expected.astype(np.float32), dones, infos


def expected_reward_of(infos: dict[str, Any], is_over: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) what each row's reward was expected to be, by the infos of an env made with ``expected_reward=True``."""
    return of_step(infos, INFO_KEY, is_over)
