"""The base class of agents: controllers, baselines and decoders."""

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
    """Result of one token in each row: the gates (N, 3) and the vector env's return values."""

    gates: NDArray[np.float32]
    observations: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]
    infos: dict[str, Any]


class Agent(ABC):
    """Base class of agents: maps observations of a vector env to gates.

    :meth:`start` binds an agent to one run of episodes. Concurrent callers, such as threads, need one agent each
    (:meth:`copy`); :func:`agents.generate_tokens` copies the agent itself.
    """

    name: str
    """Agent name in tables."""

    def start(self, vector_env: VectorEnv, seed: int) -> None:  # noqa: B027 - a hook that most agents leave empty
        """Prepare for new episodes of `vector_env`, which will be stepped with this agent's actions.

        Only agents that use random numbers or more than the observation override it.
        """

    def step(self, vector_env: TidalGatingVectorEnv, observations: NDArray[np.float32]) -> TokenStep:
        """Draw a token in each row, under the gates of :meth:`act` for observations (N, 64).

        Only agents that do not draw tokens by gates override it.
        """
        gates = self.act(observations)
        return TokenStep(np.asarray(gates), *vector_env.step(gates))

    def copy(self) -> Self:
        """An agent with the same settings for other episodes. Copies share policy and weights, also between threads."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Agent):
                setattr(twin, name, value.copy())
        return twin

    @abstractmethod
    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gates (N, 3) in [0, 1] for observations (N, 64)."""
