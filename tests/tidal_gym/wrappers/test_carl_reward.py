"""The CARL wrappers: their rewards sum to the score of the whole episode, in every mode and with every autoreset."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from agents import EnvConfig, VectorEnvToSB3
from lm.carl import CarlWeights, carl_reward
from lm.errors import InvalidValueError
from lm.models.bundle import load_bundle
from tidal_gym import CarlReward, CarlRewardConfig, TidalGatingVectorEnv, VectorCarlReward

MakeEnv = Callable[..., TidalGatingVectorEnv]


def score_of(model: str, ids: list[int], prompt_length: int, **options: object) -> float:
    """Of a whole episode, by one forward over it."""
    text = torch.tensor([ids])
    with torch.inference_mode():
        logits = load_bundle(model, dtype="float64").model(input_ids=text).logits
    is_drawn = torch.arange(len(ids)).unsqueeze(0) >= prompt_length
    return carl_reward(logits, text, mask=is_drawn, **options)[0].item()


def make_scalar(model: str, **settings: object) -> CarlReward:
    env = gymnasium.make("TidalGating-v0", model=model, dtype="float64", max_episode_steps=9)
    return CarlReward(env, **settings)


def play(env: gymnasium.Env, seed: int) -> tuple[list[float], dict, int]:
    """Rewards of an episode under random gates, its last info, and the length of its prompt."""
    env.reset(seed=seed)
    prompt_length = len(env.unwrapped.token_ids())
    rng = np.random.default_rng(seed)
    rewards, is_over = [], False
    while not is_over:
        _, reward, terminated, truncated, info = env.step(rng.random(3))
        rewards.append(reward)
        is_over = terminated or truncated
    return rewards, info, prompt_length


@pytest.mark.parametrize("composite", ["corrected", "published"])
def test_differences_sum_to_the_score(gated_folder: str, composite: str) -> None:
    env = make_scalar(gated_folder, mode="replace", weight=2.0, composite=composite)
    for seed in range(3):
        rewards, info, start = play(env, seed)
        expected = score_of(gated_folder, info["token_ids"], start, composite=composite)
        assert sum(rewards) == pytest.approx(2.0 * expected, abs=1e-7)
        assert info["reward_carl"] == pytest.approx(rewards[-1] / 2.0)


def test_all_at_the_end(endless_folder: str) -> None:
    weights = CarlWeights(0.2, 0.3, 0.5)
    env = make_scalar(endless_folder, mode="replace", payment="end", weights=weights)
    rewards, info, start = play(env, 0)
    assert len(rewards) == 9 and rewards[:-1] == [0.0] * 8
    assert rewards[-1] == pytest.approx(score_of(endless_folder, info["token_ids"], start, weights=weights), abs=1e-7)


def test_added_to_the_reward(gated_folder: str) -> None:
    plain = gymnasium.make("TidalGating-v0", model=gated_folder, dtype="float64", max_episode_steps=9)
    without, _, _ = play(plain, 4)
    both, info, start = play(make_scalar(gated_folder, weight=3.0), 4)
    expected = 3.0 * score_of(gated_folder, info["token_ids"], start)
    assert sum(both) - sum(without) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
@pytest.mark.parametrize("payment", ["differences", "end"])
def test_vector_with_every_autoreset_mode(make_env: MakeEnv, gated_folder: str, mode: str, payment: str) -> None:
    env = VectorCarlReward(make_env(4, autoreset_mode=mode, dtype="float64"), mode="replace", payment=payment)
    env.reset(seed=2)
    prompts = [len(ids) for ids in env.unwrapped.token_ids()]
    paid, finished = np.zeros(4), 0
    rng = np.random.default_rng(0)
    for _ in range(30):
        _, rewards, terminations, truncations, infos = env.step(rng.random((4, 3)))
        paid += rewards
        is_over = terminations | truncations
        step_infos = infos.get("final_info", infos)
        for row in np.flatnonzero(is_over):
            expected = score_of(gated_folder, step_infos["token_ids"][row], prompts[row])
            assert paid[row] == pytest.approx(expected, abs=1e-7)
            assert step_infos["_reward_carl"][row]
            finished += 1
        if mode == "Disabled" and is_over.any():
            env.reset(options={"reset_mask": is_over})
        began = ~infos["_token"] if mode == "NextStep" else is_over
        paid[is_over] = 0.0
        for row in np.flatnonzero(began):
            prompts[row] = len(env.unwrapped.token_ids()[row])
            assert rewards[row] == 0.0 or mode != "NextStep"
    assert finished >= 8


def test_scalar_and_vector_agree(endless_folder: str) -> None:
    settings = {"model": endless_folder, "dtype": "float64", "max_episode_steps": 9}
    vector = VectorCarlReward(gymnasium.make_vec("TidalGating-v0", num_envs=1, **settings))
    scalar = CarlReward(gymnasium.make("TidalGating-v0", **settings))
    vector.reset(seed=3)
    scalar.reset(seed=3)
    for gates in np.random.default_rng(0).random((8, 3)):
        assert vector.step(gates[None])[1][0] == pytest.approx(scalar.step(gates)[1], abs=1e-12)


@pytest.mark.unseeded  # the checker resets without a seed, and wants only that it works
def test_checks_and_copies(gated_folder: str) -> None:
    env = make_scalar(gated_folder, payment="end", weight=2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a wrapper, and of an unbounded Box
        check_env(env, skip_render_check=True)
    again = env.spec.make()
    assert isinstance(again, CarlReward)
    assert play(again, 5)[0] == play(env, 5)[0]
    assert play(pickle.loads(pickle.dumps(env)), 5)[0] == play(env, 5)[0]


def test_vector_offers_what_the_environment_does(make_env: MakeEnv) -> None:
    env = VectorCarlReward(make_env(2, autoreset_mode="SameStep"))
    assert env.bundle is env.unwrapped.bundle and env.max_episode_steps == 12
    assert VectorEnvToSB3(env).num_envs == 2
    assert not hasattr(env, "_nothing")
    for ask in (env.expected_rewards, env.prospects):
        with pytest.raises(InvalidValueError, match="`carl` must be None for expected rewards"):
            ask([[0.5, 0, 0]])


def test_by_configuration(gated_folder: str) -> None:
    config = EnvConfig(model=gated_folder, carl={"mode": "replace", "weights": {"cloud_quality": 0.5}})
    assert config.carl == CarlRewardConfig(mode="replace", weights=CarlWeights(cloud_quality=0.5))
    assert isinstance(config.make(2), VectorCarlReward)
    assert isinstance(EnvConfig(model=gated_folder).make(2), TidalGatingVectorEnv)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mode": "instead"}, "`mode` must be one of add, replace. Received 'instead'."),
        ({"payment": "never"}, "`payment` must be one of differences, end. Received 'never'."),
        ({"composite": "best"}, "`composite` must be one of corrected, published. Received 'best'."),
        ({"weight": float("nan")}, "`weight` must be a finite number. Received nan."),
        ({"wieght": 1.0}, r"`settings` may only have the keys .*'wieght'.*Did you mean `weight`\?"),
        ({"weights": {"cloud": 1.0}}, "`weights` may only have the keys"),
    ],
)
def test_bad_settings(make_env: MakeEnv, settings: dict, says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        VectorCarlReward(make_env(2), **settings)


def test_other_environments(make_env: MakeEnv) -> None:
    with pytest.raises(InvalidValueError, match="`env` must be a TidalGating-v0"):
        CarlReward(gymnasium.make("CartPole-v1"))
    with pytest.raises(InvalidValueError, match="For a vector environment there is `VectorCarlReward`"):
        CarlReward(make_env(2))
    with pytest.raises(InvalidValueError, match="For a scalar environment there is `CarlReward`"):
        VectorCarlReward(gymnasium.make("CartPole-v1"))
