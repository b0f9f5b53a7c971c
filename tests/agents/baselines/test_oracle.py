import numpy as np
import pytest

from agents.baselines.baselines import Neutral, Random
from agents.baselines.oracle import OneStepOracle
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import run_episodes
from lm.errors import InvalidValueError


def test_grid_covers_the_box() -> None:
    grid = OneStepOracle((3, 2, 2)).grid
    assert grid.shape == (12, 3)
    assert {tuple(point) for point in grid.tolist()} == {
        (creativity, focus, stability) for creativity in (0, 0.5, 1) for focus in (0, 1) for stability in (0, 1)
    }


def test_takes_the_best_expected_reward(tiny_env: EnvConfig) -> None:
    env = tiny_env.make(3)
    observations, _ = env.reset(seed=0)
    oracle = OneStepOracle((3, 2, 2))
    oracle.start(env, 0)
    gates = oracle.act(observations)
    expected = env.expected_rewards(oracle.grid)
    for row in range(3):
        np.testing.assert_array_equal(gates[row], oracle.grid[expected[row].argmax()])
    assert len(np.unique(gates, axis=0)) > 1


def test_earns_more_than_others(tiny_env: EnvConfig) -> None:
    env = tiny_env.make(96)
    agents = (OneStepOracle((5, 2, 3)), Neutral(), Random())
    oracle, neutral, random = (run_episodes(agent, env, range(96)).returns.mean() for agent in agents)
    assert oracle > max(neutral, random) + 0.02


def test_bad_levels_are_named() -> None:
    with pytest.raises(InvalidValueError, match=r"^`levels` must be three numbers of at least 2\. Received"):
        OneStepOracle((3, 1, 2))
