"""Odd arguments of the environments: each is named in a sentence, before a model is loaded or memory taken."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

import tidal_gym
from lm.errors import InvalidValueError

CLASSES = (tidal_gym.TidalGatingVectorEnv, tidal_gym.TidalRLMVectorEnv)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_envs", value) for value in (0, -1, 1.5, True, "3", None, math.nan, 100_000_000, 10**30)),
        *(("max_episode_steps", value) for value in (0, 2.5, True, "3", math.inf)),
        *(("device", value) for value in ("cuda:99", "warp", "meta", "", 3, None)),
        *(("model", value) for value in ("", 3, None, ["tidal-tiny"])),
        *(("reward", value) for value in ("", None, ["tidal"], "nope")),
        *(("cost", value) for value in ("", ["x"], 3, "nope")),
        *(("judge", value) for value in ("", 3)),
        *(("statistics", value) for value in ("", 3)),
        *(("dtype", value) for value in ("", "int8", None, ["float32"])),
        *(("modulation", value) for value in (3, {"base_temperature": 1e-300}, {"focus_strength": 1e300})),
        *(("modulation", {"base_penalty": value}) for value in (1e300, 0.5, math.nan, "1", True)),
        *(("entropy_target", value) for value in ("x", 0.0, math.nan, 1e-300)),
        *(("expected_reward", value) for value in ("x", 1, None)),
        *(("autoreset_mode", value) for value in (3, ["x"], "Sometimes")),
        *(("render_mode", value) for value in (3, ["x"], "svg")),
        *(("prompts", value) for value in (3, None)),
    ],
)
def test_odd_arguments_are_named(kind, name, value):
    with pytest.raises(InvalidValueError, match=name):
        kind(**{name: value})


@pytest.mark.parametrize("weight", [1e308, math.inf, "1", True, None])
def test_odd_weights_are_named(weight):
    with pytest.raises(InvalidValueError, match=r"reward_weights\.coherence"):
        tidal_gym.TidalGatingVectorEnv(reward_weights={"coherence": weight})
    with pytest.raises(InvalidValueError, match=r"reward_weights\.agreement"):
        tidal_gym.TidalRLMVectorEnv(reward_weights={"agreement": weight})


def test_numpy_numbers_count():
    env = tidal_gym.TidalGatingVectorEnv(np.int64(2), max_episode_steps=np.int32(4))
    assert (env.num_envs, env.max_episode_steps) == (2, 4)


@pytest.mark.parametrize(
    ("kind", "batch"),
    [
        (tidal_gym.TidalGatingEnv, tidal_gym.TidalGatingVectorEnv),
        (tidal_gym.TidalRLMEnv, tidal_gym.TidalRLMVectorEnv),
    ],
)
def test_signature_names_every_argument(kind, batch):
    found = inspect.signature(kind).parameters
    expected = dict(inspect.signature(tidal_gym.TidalGatingVectorEnv).parameters)
    del expected["num_envs"], expected["autoreset_mode"]
    assert set(found) == set(expected)
    own = inspect.signature(batch).parameters
    for name, parameter in found.items():
        assert parameter.default == own.get(name, expected[name]).default
        assert parameter.kind is parameter.KEYWORD_ONLY


def test_unknown_arguments_of_a_scalar_environment():
    for name in ("autoreset_mode", "num_envs", "temperature"):
        with pytest.raises(TypeError, match=name):
            tidal_gym.TidalGatingEnv(**{name: 1})
