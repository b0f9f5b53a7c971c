import numpy as np
import pytest

from agents.baselines.baselines import STATIC_GATES, Fixed, Neutral, Random
from lm.errors import InvalidValueError

OBSERVATIONS = np.zeros((4, 64), np.float32)


def test_fixed_and_neutral_gates() -> None:
    np.testing.assert_array_equal(Neutral().act(OBSERVATIONS), np.tile([0.5, 0, 0], (4, 1)))
    np.testing.assert_array_equal(Fixed((0.1, 0.2, 0.3)).act(OBSERVATIONS)[3], np.float32([0.1, 0.2, 0.3]))
    own = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    np.testing.assert_array_equal(Fixed(own).act(OBSERVATIONS), own)


@pytest.mark.parametrize("gates", [(0.1, 0.2), (0.1, 0.2, 1.2), (0.1, np.nan, 0.2), np.zeros((4, 2))])
def test_bad_fixed_gates_are_named(gates) -> None:
    with pytest.raises(InvalidValueError, match="^`gates` must "):
        Fixed(gates)


def test_random_gates_fill_the_box() -> None:
    gates = np.concatenate([Random(seed).act(OBSERVATIONS) for seed in range(200)])
    assert gates.shape == (800, 3)
    np.testing.assert_allclose(gates.mean(axis=0), 0.5, atol=0.05)
    assert gates.min() < 0.02
    assert gates.max() > 0.98


def test_the_family_of_fixed_gates() -> None:
    agent = STATIC_GATES.agent(focus=0.25)
    assert agent.name == "static"
    np.testing.assert_array_equal(agent.act(OBSERVATIONS), np.tile([0.5, 0.25, 0], (4, 1)))
    rows = STATIC_GATES.agent_of_rows([{"creativity": row / 4, "focus": 0.5, "stability": 1.0} for row in range(4)])
    np.testing.assert_array_equal(rows.act(OBSERVATIONS), [[row / 4, 0.5, 1.0] for row in range(4)])
    with pytest.raises(InvalidValueError, match="Did you mean `focus`"):
        STATIC_GATES.agent(focsu=0.25)
    with pytest.raises(InvalidValueError, match="^`gates` must "):
        STATIC_GATES.agent(focus=1.25)
