"""Baselines without learning: neutral, random and fixed gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents.baselines.search_space import Range, settings_in
from agents.baselines.tuning_strategies import SuccessiveHalving
from agents.episodes.agent import Agent
from lm.checks import SEED, require_integer, require_text
from lm.models.gate_names import GATE_NAMES, NEUTRAL_GATES
from tidal_gym.dynamics.actions import require_gates


class Fixed(Agent):
    """Agent with constant gates.

    Args:
        gates: (3,) for all rows, or (N, 3) for each row; in [0, 1].
        name: agent name.

    Raises:
        InvalidValueError: gates have a wrong shape or are out of range.
    """

    def __init__(self, gates: Sequence[float] | NDArray[np.floating], name: str = "fixed") -> None:
        shape = np.shape(gates) if np.ndim(gates) == 2 else (len(GATE_NAMES),)
        self.gates = require_gates(gates, (*shape[:-1], len(GATE_NAMES)), "gates").astype(np.float32)
        self.name = require_text("name", name)

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The gates (N, 3)."""
        return np.array(np.broadcast_to(self.gates, (len(observations), len(GATE_NAMES))))


class Neutral(Fixed):
    """Agent with neutral gates: plain sampling from the language model."""

    def __init__(self) -> None:
        super().__init__(NEUTRAL_GATES, "neutral")


class Random(Agent):
    """Agent with uniformly random gates at each token."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self._generator = np.random.default_rng(require_integer("seed", seed, SEED))

    def start(self, vector_env: VectorEnv, seed: int) -> None:
        """Seeds the gates with the episodes' seed, so that equal episodes get equal gates."""
        self._generator = np.random.default_rng((1, seed))  # differs from the episodes' random stream

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gates (N, 3)."""
        return self._generator.random((len(observations), len(GATE_NAMES)), dtype=np.float32)


@dataclass(frozen=True)
class StaticGates:
    """The family of fixed gates."""

    name: ClassVar[str] = "static"
    """Name on the command line."""
    space: ClassVar[Mapping[str, Range]] = {
        gate: Range(0.0, 1.0, default=neutral) for gate, neutral in zip(GATE_NAMES, NEUTRAL_GATES, strict=True)
    }
    """The three gates; the defaults are neutral."""
    strategy: ClassVar[SuccessiveHalving] = SuccessiveHalving()
    """Default search strategy: many settings share every batch of episodes."""
    is_per_row: ClassVar[bool] = True
    """Rows of a vector env can have different gates."""

    def agent(self, /, **parameters: float) -> Fixed:
        """Fixed gates by name; those that are not given are neutral.

        Raises:
            InvalidValueError: there is no such gate, or it is not in [0, 1].
        """
        return Fixed(list(settings_in(self.space, parameters, self.name).values()), self.name)

    def agent_of_rows(self, settings: Sequence[Mapping[str, float]]) -> Fixed:
        """Fixed gates of each row."""
        return Fixed(np.array([[setting[gate] for gate in GATE_NAMES] for setting in settings]), self.name)


STATIC_GATES = StaticGates()
