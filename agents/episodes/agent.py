"""What controllers and baselines have in common."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


class TokenStep(NamedTuple):
    """One token in every row: the gates (N, 3) that it was drawn under, and what the vector env returned."""

    gates: NDArray[np.float32]
    observations: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]
    infos: dict[str, Any]


class Agent(ABC):
    """Chooses the gates of every row of a vector env.

    :meth:`start` binds an agent to one run of episodes. Callers that run side by side, in threads for instance, each
    need an agent of their own, which :meth:`copy` gives; :func:`agents.generate_tokens` copies the agent by itself.
    """

    name: str
    """What tables call it."""

    def start(self, vector_env: VectorEnv, seed: int) -> None:  # noqa: B027 - a hook that most agents leave empty
        """Get ready for new episodes of `vector_env`, which is about to be stepped with this agent's actions.

        Only agents that draw random numbers or look at more than the observation need it.
        """

    def step(self, vector_env: TidalGatingVectorEnv, observations: NDArray[np.float32]) -> TokenStep:
        """Have every row draw a token, under the gates that :meth:`act` gives for observations (N, 64).

        Only agents that draw tokens in another way than under gates need their own.
        """
        gates = self.act(observations)
        return TokenStep(np.asarray(gates), *vector_env.step(gates))

    def copy(self) -> Self:
        """An agent with the same settings for other episodes. Policy and weights are shared; threads may share them."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Agent):
                setattr(twin, name, value.copy())
        return twin

    @abstractmethod
    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gates (N, 3) in [0, 1] for observations (N, 64)."""
