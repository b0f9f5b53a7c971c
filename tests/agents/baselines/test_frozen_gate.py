from __future__ import annotations

import numpy as np
import pytest

from agents.baselines.baselines import Fixed, Random
from agents.baselines.frozen_gate import FrozenGate
from agents.episodes.env_config import EnvConfig
from agents.evaluation.evaluation import evaluate
from lm.errors import InvalidValueError


def test_one_gate_is_held_and_the_others_are_the_agent_s(tiny_env: EnvConfig) -> None:
    frozen = evaluate(FrozenGate(Random(), "focus", 0.25), tiny_env, prompts=tiny_env.prompts, episodes=8)
    assert frozen.gates["focus"].mean == 0.25 and frozen.gates["focus"].std == 0.0
    assert frozen.gates["creativity"].std > 0.1 and frozen.gates["stability"].std > 0.1
    assert frozen.agent == "random, focus frozen"


def test_freezing_what_does_not_move_changes_nothing(tiny_env: EnvConfig) -> None:
    fixed = Fixed((0.3, 0.5, 0.25))
    free, frozen = (
        evaluate(agent, tiny_env, prompts=tiny_env.prompts, episodes=8)
        for agent in (fixed, FrozenGate(fixed, "stability", 0.25))
    )
    assert free.returns == frozen.returns


def test_the_agent_s_own_gates_are_left_alone() -> None:
    gates = np.full((2, 3), 0.5, np.float32)
    agent = Fixed(gates)
    assert FrozenGate(agent, "creativity", 0.0).act(np.zeros((2, 64), np.float32))[0].tolist() == [0.0, 0.5, 0.5]
    assert agent.gates.tolist() == gates.tolist()


def test_bad_input() -> None:
    with pytest.raises(InvalidValueError, match="`gate` must be one of creativity, focus, stability. Received warmth."):
        FrozenGate(Random(), "warmth", 0.5)
    with pytest.raises(InvalidValueError, match=r"`value` must be in \[0, 1\]. Received 1.5."):
        FrozenGate(Random(), "focus", 1.5)
