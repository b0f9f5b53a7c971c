"""Training and evaluation in any registered environment."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import tidal_gym
from agents import EnvConfig, PPOConfig, TrainConfig, train
from agents.training.config import WarmStartConfig
from lm.errors import InvalidValueError

PPO = PPOConfig(num_envs=4, rollout_steps=16, batch_size=32, epochs=2, hidden_sizes=(8,))


@pytest.mark.parametrize("kind", ["TidalGating-v0", "TidalRLM-v0"])
def test_own_environments_get_every_field(kind):
    env = EnvConfig(id=kind, model="rlm-tiny" if "RLM" in kind else "tidal-tiny", max_episode_steps=3).make(2)
    assert type(env) is getattr(tidal_gym, {"TidalGating-v0": "TidalGatingVectorEnv"}.get(kind, "TidalRLMVectorEnv"))
    assert (env.num_envs, env.max_episode_steps, env.autoreset_mode) == (2, 3, AutoresetMode.SAME_STEP)
    assert env.spec is not None and env.spec.id == kind


def test_others_keep_their_defaults(toy_module):
    env = EnvConfig(id=f"{toy_module}:ShortGating-v0").make(2)
    assert isinstance(env, tidal_gym.TidalGatingVectorEnv) and env.max_episode_steps == 4
    toys = EnvConfig(id=f"{toy_module}:Toy-v0", model="other").make(3)
    assert isinstance(toys, gymnasium.vector.SyncVectorEnv) and toys.num_envs == 3
    assert {toy.unwrapped.model for toy in toys.envs} == {"other"}
    toys.reset(seed=0)
    for step in range(1, 11):
        truncations = toys.step(np.zeros((3, 1), np.float32))[3]
        assert (truncations == (step == 10)).all()


@pytest.mark.parametrize("name", ["Nope-v0", "CartPole-v99", "no_such_module:Toy-v0", ":", "a b"])
def test_unknown_ids_are_named(name):
    with pytest.raises(InvalidValueError, match=r"`env\.id` must be the id of a registered environment"):
        EnvConfig(id=name).make(1)


def test_arguments_that_it_does_not_take_are_named(toy_module):
    with pytest.raises(InvalidValueError, match=r"`env\.reward` must be left out: .*Toy-v0 does not take it"):
        EnvConfig(id=f"{toy_module}:Toy-v0", reward="judge").make(1)


def test_a_controller_of_a_foreign_environment(toy_module, tmp_path):
    config = TrainConfig(EnvConfig(id=f"{toy_module}:Toy-v0"), PPO, total_steps=1280, seed=0)
    controller = train(config, tmp_path / "run")
    assert controller.config.observation_size == 2
    gates = controller.act(np.zeros((5, 2), np.float32))
    assert gates.shape == (5, 1) and ((gates >= 0) & (gates <= 1)).all()
    longer = train(replace(config, total_steps=1280), tmp_path / "run", resume=True)
    np.testing.assert_array_equal(longer.act(np.zeros((5, 2), np.float32)), gates)


def test_what_cannot_be_trained_on_is_named(toy_module, tmp_path):
    with pytest.raises(InvalidValueError, match=r"`env\.id` must be an environment whose observations and actions"):
        train(TrainConfig(EnvConfig(id="CartPole-v1"), PPO, total_steps=64), tmp_path / "run")
    warm_start, toy = WarmStartConfig(env_steps=64), EnvConfig(id=f"{toy_module}:Toy-v0")
    with pytest.raises(InvalidValueError, match=r"`warm_start\.env_steps` must be 0"):
        train(TrainConfig(toy, PPO, total_steps=128, warm_start=warm_start), tmp_path / "run")
    assert not (tmp_path / "run").exists()
