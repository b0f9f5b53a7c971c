"""Wraps an agent; holds one gate at a constant value."""

from __future__ import annotations

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents.episodes.agent import Agent
from lm.errors import InvalidValueError
from lm.models.gate_names import GATE_NAMES


class FrozenGate(Agent):
    """The wrapped agent with one gate held at a constant value.

    Args:
        agent: agent that sets the other gates. It observes the frozen gate among the previous gates.
        gate: "creativity", "focus" or "stability".
        value: value of the frozen gate, in [0, 1].

    Raises:
        InvalidValueError: there is no such gate, or the value is out of range.
    """

    def __init__(self, agent: Agent, gate: str, value: float) -> None:
        if gate not in GATE_NAMES:
            raise InvalidValueError("gate", f"must be one of {', '.join(GATE_NAMES)}", gate)
        if not 0.0 <= value <= 1.0:
            raise InvalidValueError("value", "must be in [0, 1]", value)
        self.agent = agent
        self.gate = gate
        self.value = value
        self.name = f"{agent.name}, {gate} frozen"

    def start(self, vector_env: VectorEnv, seed: int) -> None:
        """Starts the wrapped agent."""
        self.agent.start(vector_env, seed)

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The wrapped agent's gates (N, 3), with the frozen one replaced."""
        gates = np.array(self.agent.act(observations))
        gates[:, GATE_NAMES.index(self.gate)] = self.value
        return gates
