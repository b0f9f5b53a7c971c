"""What controllers and baselines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray


class Agent(ABC):
    """Chooses the gates of every row of a vector env."""

    name: str
    """What tables call it."""

    def start(self, vector_env: VectorEnv, seed: int) -> None:  # noqa: B027 - a hook that most agents leave empty
        """Get ready for new episodes of `vector_env`, which is about to be stepped with this agent's actions.

        Only agents that draw random numbers or look at more than the observation need it.
        """

    @abstractmethod
    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gates (N, 3) in [0, 1] for observations (N, 64)."""
