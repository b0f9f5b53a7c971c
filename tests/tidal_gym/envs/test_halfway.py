"""A step that raises an exception must not count: the environment demands a reset, and then goes on as if new."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from transformers import LogitsProcessor

import tidal_gym
from lm.errors import InvalidValueError
from tidal_gym.rewards.costs import register_cost
from tidal_gym.rewards.rewards import TidalReward, register_reward
from tidal_gym.wrappers.carl_reward import VectorCarlReward

SETTINGS = {"max_episode_steps": 4, "dtype": "float64"}


class _Once:
    """Raises an exception in its second call."""

    calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("once")


@register_reward("fails-once")
def _reward(reference, weights):
    fail, reward = _Once(), TidalReward(reference, weights)
    return lambda outcome: (fail(), reward(outcome))[1]


@register_cost("fails-once")
def _cost(reference, bound):
    fail = _Once()
    return lambda outcome: (fail(), torch.zeros_like(outcome.log_prob))[1]


class _Processor(LogitsProcessor):
    def __init__(self) -> None:
        self.fail = _Once()

    def __call__(self, input_ids, scores):
        self.fail()
        return scores


def _play(env, step, seed=3):
    """Rewards and tokens of two steps after a reset."""
    env.reset(seed=seed)
    results = [step() for _ in range(2)]
    return [result[1].tolist() for result in results], env.unwrapped.token_ids()


@pytest.mark.parametrize("where", ["reward", "cost", "processor", "carl", "judge", "interrupt"])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_failed_step_demands_a_reset_and_leaves_no_trace(where, mode, monkeypatch):
    faults = {"reward": {"reward": "fails-once"}, "cost": {"cost": "fails-once"}}
    plain = {"reward": "judge"} if where == "judge" else {"cost": "diversity_floor"} if where == "cost" else {}

    def make(**settings):
        env = tidal_gym.TidalGatingVectorEnv(2, autoreset_mode=mode, render_mode="ansi", **SETTINGS, **settings)
        return VectorCarlReward(env) if where == "carl" else env

    env = make(**(plain | faults.get(where, {})))
    base, processor, fail = env.unwrapped, _Processor(), _Once()
    if where == "judge":
        judge = base._scoring.judge
        advance = judge.advance
        monkeypatch.setattr(judge, "advance", lambda tokens: (fail(), advance(tokens))[1])
    if where == "carl":
        growing = env._account._growing
        add = growing.add
        monkeypatch.setattr(growing, "add", lambda *columns: (fail(), add(*columns))[1])
    if where == "interrupt":
        transition = base._step_on_device
        monkeypatch.setattr(base, "_step_on_device", lambda *inputs: (fail(), transition(*inputs))[1])
    gates = np.tile(base.neutral_action, (2, 1))

    def step():
        return env.step_with(processor) if where == "processor" else env.step(gates)

    env.reset(seed=1)
    step()
    with pytest.raises(RuntimeError, match="once"):
        step()
    for use in (step, env.render, lambda: base.expected_rewards(gates[:1]), lambda: base.candidates(gates)):
        with pytest.raises(gymnasium.error.ResetNeeded, match="interrupted by an exception"):
            use()
    with pytest.raises(gymnasium.error.ResetNeeded, match="for all rows"):
        env.reset(options={"reset_mask": np.array([True, False])})
    other = make(**plain)
    expected = _play(other, lambda: other.step_with(_Processor()) if where == "processor" else other.step(gates))
    found = _play(env, step)
    assert found[1] == expected[1]
    np.testing.assert_array_equal(found[0], expected[0])
    assert len(env.render()) == 2


def test_a_refused_action_changes_nothing():
    env = tidal_gym.TidalGatingVectorEnv(1, **SETTINGS)
    env.reset(seed=0)
    with pytest.raises(InvalidValueError):
        env.step([[2.0, 0.0, 0.0]])
    env.step([env.neutral_action])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": {"reset_msk": None}}, "`options` may only have the keys reset_mask. Received 'reset_msk'"),
        ({"options": [1]}, r"`options` must be None or a mapping. Received \[1\]"),
        ({"seed": 1.5}, "`seed` must be an integer. Received 1.5"),
        ({"seed": True}, "`seed` must be an integer. Received True"),
        ({"seed": "1"}, "`seed` must be an integer. Received '1'"),
        ({"seed": -1}, "`seed` must be at least 0. Received -1"),
        ({"seed": [1]}, r"`seed` must be an integer or a list of 2 seeds, one a row. Received \[1\]"),
        ({"seed": [1, 0.5]}, "`seed` must be an integer. Received 0.5"),
    ],
)
def test_bad_arguments_of_reset_are_named(arguments, message):
    env = tidal_gym.TidalGatingVectorEnv(2, **SETTINGS)
    with pytest.raises(InvalidValueError, match=message):
        env.reset(**arguments)


def test_bad_arguments_of_a_scalar_reset_are_named():
    env = gymnasium.make("TidalGating-v0", **SETTINGS)
    with pytest.raises(InvalidValueError, match="`seed` must be an integer. Received 0.5"):
        env.reset(seed=0.5)
    with pytest.raises(InvalidValueError, match="`options` must be None or empty. Received 'prompt'"):
        env.reset(seed=0, options={"prompt": "x"})
    first, _ = env.reset(seed=np.int64(3), options={})
    np.testing.assert_array_equal(first, env.reset(seed=3)[0])


def test_bad_rows_and_uniforms_are_named():
    env, other = (tidal_gym.TidalGatingVectorEnv(2, **SETTINGS) for _ in range(2))
    env.reset(seed=0)
    other.reset(seed=1)
    for rows in ([0, 2], [0], [0.5, 1], [-1, 0]):
        with pytest.raises(InvalidValueError, match=r"`rows` must be integers of shape \(2,\) from 0 to 1"):
            env.copy_rows(other, rows)
    for uniforms in (np.ones((2, 4)), np.zeros((2, 3)), np.full((2, 4), np.nan)):
        with pytest.raises(InvalidValueError, match=r"`uniforms` must be numbers in \[0, 1\) of shape \(2, 4\)"):
            env.copy_rows(other, [1, 1], uniforms)
    env.copy_rows(other, [1, 1])
    assert env.token_ids() == [other.token_ids()[1]] * 2
