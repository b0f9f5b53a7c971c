"""Wraps an agent; records candidate tokens and the neutral entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents.baselines.decoders import Decoder
from agents.episodes.agent import Agent
from agents.episodes.episodes import Episodes
from lm.errors import InvalidValueError
from tidal_gym.dynamics.candidates import Candidates

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


class Recorder(Agent):
    """Acts as the wrapped agent; records candidate tokens and the neutral entropy at each token.

    Candidates cost a forward pass of the gated stream, so they are recorded for the first batch of episodes only.
    Environments without a recorder compute none of this.

    Args:
        agent: agent that sets the gates.
        rows: number of rows, the first ones of the first batch, whose candidates are recorded.

    Raises:
        InvalidValueError: the agent is a decoding method, which sets no gates.
    """

    def __init__(self, agent: Agent, rows: int) -> None:
        if isinstance(agent, Decoder):
            raise InvalidValueError("agent", "must set gates, as a controller does", f"the decoder '{agent.name}'")
        self.name = agent.name
        self.candidates: list[Candidates] = []
        """Candidates of each token of the first batch, for its first `rows` rows."""
        self._agent, self._rows = agent, rows
        self._neutral_entropy: list[list[NDArray[np.float64]]] = []
        self._vector_env: TidalGatingVectorEnv

    def start(self, vector_env: VectorEnv, seed: int) -> None:
        """Starts a batch of episodes."""
        self._vector_env = cast("TidalGatingVectorEnv", vector_env.unwrapped)
        self._neutral_entropy.append([])
        self._agent.start(vector_env, seed)

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The wrapped agent's gates (N, 3)."""
        gates = self._agent.act(observations)
        self._neutral_entropy[-1].append(self._vector_env.neutral_entropy())
        if self._rows and len(self._neutral_entropy) == 1:
            tokens, q, p = self._vector_env.candidates(gates)
            rows = slice(self._rows)
            self.candidates.append(Candidates(tokens[rows].copy(), q[rows].copy(), p[rows].copy()))
        return gates

    def neutral_entropy(self, episodes: Episodes) -> NDArray[np.float64]:
        """(E, T) entropy [nats] of the neutral distribution p before each token of the episodes."""
        longest = episodes.tokens.shape[1]
        batches = [np.stack(steps, axis=1)[:, :longest] for steps in self._neutral_entropy]  # (N, T) each
        entropy = np.concatenate([np.pad(batch, ((0, 0), (0, longest - batch.shape[1]))) for batch in batches])
        return np.where(episodes.is_alive, entropy[: len(episodes.lengths)], 0.0)
