"""The environment that the benchmarks call the textbook's is the environment: same tokens, rewards, observations."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speed.textbook_env import TextbookEnv
from tidal_gym.envs.env import TidalGatingEnv


@pytest.mark.parametrize("seed", [0, 1])
def test_textbook_equals_the_environment(seed):
    textbook, env = TextbookEnv(dtype="float64"), TidalGatingEnv(dtype="float64")
    observation, expected = textbook.reset(seed=seed)[0], env.reset(seed=seed)[0]
    np.testing.assert_allclose(observation, expected, atol=1e-4)
    is_over = False
    for action in np.random.default_rng(seed).random((50, 3), dtype=np.float32):
        assert not is_over
        observation, reward, *ends, info = textbook.step(action)
        expected, expected_reward, *expected_ends, expected_info = env.step(action)
        assert info["token"] == expected_info["token"]
        assert reward == pytest.approx(expected_reward, abs=1e-4)
        np.testing.assert_allclose(observation, expected, atol=1e-3)
        assert ends == expected_ends
        is_over = any(ends)
        if is_over:
            break
    assert is_over
