"""The one-step oracle: the gates with the best expected reward for the next token, computed exactly."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, cast

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents.episodes.agent import Agent
from lm.errors import InvalidValueError
from lm.models.gate_names import GATE_NAMES

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


class OneStepOracle(Agent):
    """Agent that takes the action of a grid with the highest exact expected reward of the next token.

    It uses the model's full distribution and the reward function, so it is not a competing method but a reference: the
    best return of gating without looking ahead. The environment computes the expectations, at the cost of a forward
    pass of the gated stream per action.

    Args:
        levels: number of values of each gate in the grid, evenly spaced over [0, 1]; at least 2 each.
    """

    name = "one-step oracle"

    def __init__(self, levels: tuple[int, int, int] = (9, 3, 5)) -> None:
        if len(levels) != len(GATE_NAMES) or min(levels) < 2:
            raise InvalidValueError("levels", "must be three numbers of at least 2", levels)
        axes = [np.linspace(0.0, 1.0, count) for count in levels]
        self.grid = np.array(list(itertools.product(*axes)), np.float32)  # (A, 3)
        self._vector_env: TidalGatingVectorEnv | None = None

    def start(self, vector_env: VectorEnv, seed: int) -> None:
        """Keeps the environment, which computes expected rewards."""
        self._vector_env = cast("TidalGatingVectorEnv", vector_env.unwrapped)

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The best gates (N, 3) of the grid in the environment's current state."""
        expected = self._environment.expected_rewards(self.grid)  # (N, A)
        return self.grid[np.argmax(expected, axis=1)]

    @property
    def _environment(self) -> TidalGatingVectorEnv:
        if self._vector_env is None:
            raise RuntimeError(f"{type(self).__name__}.start(vector_env, seed) must be called first.")
        return self._vector_env
