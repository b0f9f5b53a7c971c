"""What a controller loses when one of its gates no longer moves."""

from __future__ import annotations

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents.episodes.agent import Agent
from lm.errors import InvalidValueError
from lm.models.gate_names import GATE_NAMES


class FrozenGate(Agent):
    """Another agent with one gate held at a value.

    Args:
        agent: sets the other gates. It sees what its frozen gate does, as it sees its own previous gates.
        gate: "creativity", "focus" or "stability".
        value: where that gate is held, in [0, 1].

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
        """Let the agent get ready."""
        self.agent.start(vector_env, seed)

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The agent's gates (N, 3), one of them overruled."""
        gates = np.array(self.agent.act(observations))
        gates[:, GATE_NAMES.index(self.gate)] = self.value
        return gates
