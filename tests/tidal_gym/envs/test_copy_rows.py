"""Copies of episodes: what follows in a copy is what would follow in the original, and the original does not notice."""

import gymnasium
import numpy as np
import pytest
from transformers import GPT2Config, GPT2LMHeadModel, TemperatureLogitsWarper

SEED = 11
STEPS = 5


def actions_for(rows: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((steps, rows, 3)).astype(np.float32)


@pytest.fixture
def gpt2_folder(save_model, tokenizer) -> str:
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=48, n_layer=2, n_head=2, n_positions=96)
    return save_model(GPT2LMHeadModel(config), scale=0.2)


@pytest.fixture(params=["gated", "judged", "gpt2", "one stream"])
def make(request, make_env, gpt2_folder):
    """Makes float64 environments: of a model with gates, of one that another judges, of one without gates, and of one
    where one stream serves both."""
    settings: dict = {"dtype": "float64", "autoreset_mode": "SameStep"}
    if request.param == "judged":
        settings |= {"reward": "judge", "judge": gpt2_folder}
    elif request.param != "gated":
        settings["model"] = gpt2_folder
    if request.param == "one stream":
        settings["modulation"] = {"focus_strength": 0.0}
    return lambda rows: make_env(rows, **settings)


def test_copies_go_on_exactly_as_the_original(make):
    env, copies = make(3), make(5)
    env.reset(seed=SEED), copies.reset(seed=99)
    for actions in actions_for(3, STEPS):
        env.step(actions)
    rows = np.array([2, 0, 0, 1, 2])
    copies.copy_rows(env, rows)
    assert copies.token_ids() == [env.token_ids()[row] for row in rows]
    for actions in actions_for(3, STEPS, seed=1):
        np.testing.assert_allclose(copies.expected_rewards(actions), env.expected_rewards(actions)[rows], atol=1e-12)
        (observations, rewards, ended, cut, infos), copied = env.step(actions), copies.step(actions[rows])
        is_alive = ~(ended | cut)[rows]  # the others have begun anew, each with a prompt of its own
        np.testing.assert_allclose(copied[1], rewards[rows], atol=1e-12)
        np.testing.assert_array_equal(copied[2], ended[rows])
        np.testing.assert_array_equal(copied[3], cut[rows])
        np.testing.assert_allclose(copied[0][is_alive], observations[rows][is_alive], atol=1e-6)
        np.testing.assert_array_equal(copied[4]["token"][is_alive], infos["token"][rows][is_alive])
        if not is_alive.all():
            break


def test_copies_of_what_a_decoder_wrote_go_on_as_the_original(make):
    """The gated stream of the original has not read along, and the copies' has read something else."""
    env, copies = make(3), make(3)
    env.reset(seed=SEED), copies.reset(seed=99)
    for actions in actions_for(3, 2):
        copies.step(actions)
        env.step_with(TemperatureLogitsWarper(0.7))
    copies.copy_rows(env, [0, 1, 2])
    for actions in actions_for(3, 2, seed=1):
        np.testing.assert_allclose(copies.expected_rewards(actions), env.expected_rewards(actions), atol=1e-12)


def test_the_original_does_not_notice(make):
    env, other, copies = make(3), make(3), make(4)
    for environment in (env, other, copies):
        environment.reset(seed=SEED)
    for actions in actions_for(3, 2 * STEPS):
        copies.copy_rows(env, [1, 1, 0, 2], np.full((4, env.max_episode_steps), 0.9))
        for copied in actions_for(4, 3, seed=2):
            copies.step(copied)
        for left, right in zip(env.step(actions)[:4], other.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(left, right)


def test_uniforms_of_its_own_count_from_the_present_step(make_env):
    env, copies, again = make_env(1), make_env(2), make_env(2)
    for environment in (env, copies, again):
        environment.reset(seed=SEED)
    for actions in actions_for(1, 2):
        env.step(actions)
    ahead = np.array([[0.1, 0.7, 0.3] + [0.0] * 9, [0.9, 0.2, 0.6] + [0.0] * 9])
    copies.copy_rows(env, [0, 0], ahead)
    tokens = [copies.step(np.full((2, 3), 0.5))[4]["token"] for _ in range(3)]
    again.copy_rows(env, [0, 0])
    for step, expected in enumerate(tokens):
        again.episodes.uniforms[:, again.episodes.steps[0]] = ahead[:, step]
        np.testing.assert_array_equal(again.step(np.full((2, 3), 0.5))[4]["token"], expected)
    assert any(left != right for left, right in tokens)


def test_copies_only_what_has_begun(make_env):
    env, copies = make_env(1), make_env(2)
    copies.reset(seed=0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        copies.copy_rows(env, [0, 0])


def test_resized_has_the_same_arguments(make_env):
    env = make_env(2, max_episode_steps=7, modulation={"top_k": 5})
    resized = env.resized(6, expected_reward=True)
    assert (resized.num_envs, resized.max_episode_steps, resized.modulation.top_k) == (6, 7, 5)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_expected_reward_in_info_is_that_of_the_action(make_env, mode):
    env = make_env(3, expected_reward=True, autoreset_mode=mode, max_episode_steps=4)
    env.reset(seed=SEED)
    for actions in actions_for(3, 9):
        expected = env.expected_rewards(np.broadcast_to(actions, (2, 3, 3)))
        np.testing.assert_array_equal(expected[:, 0], expected[:, 1])
        infos = env.step(actions)[4]
        for found in (infos, infos.get("final_info", {})):
            rows = found.get("_expected_reward", np.zeros(3, bool))
            np.testing.assert_allclose(found.get("expected_reward", np.zeros(3))[rows], expected[rows, 0], atol=1e-6)


def test_actions_of_each_row(make_env):
    env = make_env(3)
    env.reset(seed=SEED)
    actions = actions_for(3, 4)  # (A, N, 3)
    together = env.expected_rewards(actions)
    for row in range(3):
        np.testing.assert_allclose(together[row], env.expected_rewards(actions[:, row])[row], atol=1e-6)
