"""The batched environment against a slow one, against itself in other batch sizes, and against plain sampling."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils import seeding

from lm.decoding.sampling import inverse_cdf_sample, top_k_mask
from lm.errors import InvalidValueError
from tests.tidal_gym.slow_environment import SlowEpisode, softmax
from tidal_gym.dynamics.modulation import ModulationConfig
from tidal_gym.dynamics.observation import OBSERVATION_NAMES
from tidal_gym.envs.env import TidalGatingEnv

SEED, LIMIT = 20, 12
GRID = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [1.0, 0.7, 0.2], [0.3, 1.0, 1.0]])


def actions_for(rows: int, steps: int) -> np.ndarray:
    return np.random.default_rng(1).random((steps, rows, 3)).astype(np.float32)


def replay(seed: int, openings: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], np.ndarray]:
    """Prompt and uniforms that a fresh row of this seed draws."""
    generator, _ = seeding.np_random(seed)
    opening = openings[generator.integers(len(openings))]
    return opening[: generator.integers(3, 11)], generator.random(LIMIT)


@pytest.fixture
def slow_episodes(make_env):
    """The first episodes of a float64 environment of 4 rows, begun slowly, and the environment's arguments."""

    def begin(**settings):
        modulation = {name: value for name, value in settings.items() if name != "base_penalty"}
        env = make_env(4, dtype="float64", modulation={**modulation, "base_penalty": settings.get("base_penalty", 1.0)})
        tokenizer = env.bundle.tokenizer
        openings = tuple(
            tuple(tokenizer(text, add_special_tokens=False).input_ids) for text in env._ezpickle_kwargs["prompts"]
        )
        rows = [replay(SEED + row, openings) for row in range(4)]
        return env, [SlowEpisode(env.bundle, [0], prompt, uniforms, LIMIT, **settings) for prompt, uniforms in rows]

    return begin


@pytest.mark.parametrize(
    "settings", [{}, {"base_penalty": 1.2, "focus_strength": 0.0, "top_k": 7}], ids=["default", "penalty, no focus"]
)
def test_every_number_equals_the_slow_environment(slow_episodes, settings):
    env, episodes = slow_episodes(**settings)
    observations, _ = env.reset(seed=SEED)
    is_running = np.ones(4, bool)
    for actions in actions_for(4, LIMIT):
        for row in np.flatnonzero(is_running):
            for name, value, expected in zip(
                OBSERVATION_NAMES, observations[row], episodes[row].observation(), strict=True
            ):
                assert value == pytest.approx(expected, abs=2e-6), (row, name)
        observations, rewards, terminations, truncations, infos = env.step(actions)
        for row in np.flatnonzero(is_running):
            token, terms = episodes[row].step(actions[row].astype(np.float64))
            assert infos["token"][row] == token
            for name, value in terms.items():
                assert infos[f"reward_{name}"][row] == pytest.approx(value, abs=1e-6), (row, name)
            total = 0.4 * terms["perplexity"] + 0.3 * terms["diversity"]
            total += 0.2 * terms["repetition"] + 0.1 * terms["coherence"]
            assert rewards[row] == pytest.approx(total, abs=1e-6)
            assert terminations[row] == (token == 0)
            assert truncations[row] == (len(episodes[row].actions) == LIMIT)
        is_running &= ~(terminations | truncations)
    assert not is_running.any()
    lengths = [len(episode.actions) for episode in episodes]
    assert max(lengths) == LIMIT  # the last observation compared stood at step LIMIT - 1 at least once


def test_expected_rewards_equal_slow_sums(slow_episodes):
    env, episodes = slow_episodes()
    env.reset(seed=SEED)
    for actions in actions_for(4, 3):
        expected = [[episode.expected_reward(action) for action in GRID] for episode in episodes]
        np.testing.assert_allclose(env.expected_rewards(GRID), expected, atol=1e-6)
        env.step(actions)
        for episode, action in zip(episodes, actions, strict=True):
            episode.step(action.astype(np.float64))


def test_expected_rewards_change_nothing(make_env):
    env, other = make_env(), make_env()
    env.reset(seed=SEED), other.reset(seed=SEED)
    for actions in actions_for(4, 8):
        env.expected_rewards(GRID)
        for left, right in zip(env.step(actions)[:4], other.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(left, right)


def test_expected_rewards_are_the_mean_of_what_is_drawn(make_env):
    env = make_env(400, prompts=["The old clock in the kitchen"], prompt_tokens=[5, 5])
    env.reset(seed=SEED)
    expected = env.expected_rewards(GRID[2:3])[0, 0]
    rewards = env.step(np.tile(GRID[2], (400, 1)))[1]
    assert rewards.std() > 0
    assert abs(rewards.mean() - expected) < 4 * rewards.std() / 20


def test_prospects_are_what_each_action_would_draw(make_env):
    env = make_env(4)
    env.reset(seed=SEED)
    actions = actions_for(4, 3)
    prospects = env.prospects(actions)
    np.testing.assert_array_equal(prospects.expected_rewards, env.expected_rewards(actions))
    for number, gates in enumerate(actions):
        tokens, q, p = env.candidates(gates)
        order = prospects.q[:, number].argsort(axis=1)[:, ::-1]
        for found, expected in ((prospects.tokens, tokens), (prospects.q, q), (prospects.p, p)):
            np.testing.assert_allclose(np.take_along_axis(found[:, number], order, axis=1), expected, atol=1e-7)
    infos = env.step(actions[0])[4]
    drawn = prospects.tokens[:, 0] == infos["token"][:, None]
    np.testing.assert_allclose(np.log(prospects.p[:, 0][drawn]), infos["log_prob"], rtol=1e-5)


@pytest.mark.parametrize("actions", [0.5, [0.1, 0.2], np.zeros((0, 3)), np.zeros((2, 3, 3)), np.zeros((1, 1, 4, 3))])
def test_prospects_want_some_actions(make_env, actions):
    env = make_env(4)
    env.reset(seed=SEED)
    with pytest.raises(InvalidValueError, match="`actions` must have shape"):
        env.prospects(actions)


def test_token_embeddings_are_a_copy(make_env):
    env = make_env(1)
    embeddings = env.token_embeddings()
    weight = env.bundle.model.get_input_embeddings().weight
    np.testing.assert_array_equal(embeddings, weight.detach())
    embeddings.zero_()
    assert weight.any()


def test_batched_equals_single_exactly(make_env, gated_folder):
    env = make_env(5, dtype="float64", autoreset_mode="SameStep")
    singles = [make_env(1, dtype="float64", autoreset_mode="SameStep") for _ in range(5)]
    observations, _ = env.reset(seed=SEED)
    for row, single in enumerate(singles):
        np.testing.assert_allclose(single.reset(seed=SEED + row)[0][0], observations[row], rtol=0, atol=1e-12)
    for actions in actions_for(5, 3 * LIMIT):
        observations, rewards, terminations, truncations, _ = env.step(actions)
        for row, single in enumerate(singles):
            observation, reward, terminated, truncated, _ = single.step(actions[row : row + 1])
            assert single.token_ids()[0] == env.token_ids()[row]
            np.testing.assert_allclose(observation[0], observations[row], rtol=0, atol=1e-6)  # float32 by contract
            np.testing.assert_allclose(reward[0], rewards[row], rtol=0, atol=1e-12)
            assert (terminated[0], truncated[0]) == (terminations[row], truncations[row])


def test_scalar_environment_is_a_row(make_env, gated_folder):
    env = make_env(3, dtype="float64", autoreset_mode="Disabled")
    observations, _ = env.reset(seed=SEED)
    single = TidalGatingEnv(
        model=gated_folder, dtype="float64", prompts=env._ezpickle_kwargs["prompts"], max_episode_steps=LIMIT
    )
    observation, info = single.reset(seed=SEED + 2)
    assert info == {}
    np.testing.assert_allclose(observation, observations[2], atol=1e-6)
    for actions in actions_for(3, 2):
        observations, rewards, _, _, infos = env.step(actions)
        observation, reward, _, _, info = single.step(actions[2])
        assert reward == pytest.approx(rewards[2], abs=1e-12)
        np.testing.assert_allclose(observation, observations[2], atol=1e-6)
        assert info["token"] == infos["token"][2]
        assert info["entropy"] == pytest.approx(infos["entropy"][2], abs=1e-12)
    np.testing.assert_allclose(single.expected_rewards(GRID), env.expected_rewards(GRID)[2], atol=1e-12)
    assert single.token_ids() == env.token_ids()[2]


def test_neutral_action_is_plain_sampling(make_env):
    """Tokens equal a plain decoding loop: whole context through the model, top-k, softmax, inverse CDF."""
    env = make_env(4, dtype="float64")
    env.reset(seed=SEED)
    contexts = env.token_ids()
    uniforms = env.episodes.uniforms.copy()
    is_running = np.ones(4, bool)
    for step in range(LIMIT):
        _, _, terminations, _, infos = env.step(np.tile(env.neutral_action, (4, 1)))
        for row in np.flatnonzero(is_running):
            with torch.inference_mode():
                logits = env.bundle.model(torch.tensor([contexts[row]])).logits[:, -1]
            probs = top_k_mask(logits, 40).softmax(dim=-1)
            token = int(inverse_cdf_sample(probs, torch.tensor([uniforms[row, step]]))[0])
            assert infos["token"][row] == token
            contexts[row].append(token)
        is_running &= ~terminations


def test_neutral_q_is_p(make_env):
    env = make_env(4, modulation={"top_k": 300})
    env.reset(seed=SEED)
    for _ in range(5):
        p = env._generation.streams.latest.logits.softmax(dim=1)
        infos = env.step(np.tile(env.neutral_action, (4, 1)))[4]
        np.testing.assert_allclose(infos["entropy"], -(p * p.log()).sum(dim=1).numpy(), rtol=1e-5)
        assert (infos["temperature"] == 1.0).all() and (infos["penalty"] == 1.0).all()


def test_every_gate_changes_what_is_sampled(make_env):
    env = make_env(4, dtype="float64")
    env.reset(seed=SEED)
    env.step(np.tile(env.neutral_action, (4, 1)))
    neutral, *others = env.expected_rewards([[0.5, 0, 0], [0.9, 0, 0], [0.5, 0.8, 0], [0.5, 0, 0.8]]).T
    for other in others:
        assert (np.abs(other - neutral) > 1e-6).all()


def test_gates_stay_in_the_gated_cache(make_env):
    """Keys keep the gates they were computed under: the past action matters to q, and never to p."""
    first, second = make_env(4, dtype="float64"), make_env(4, dtype="float64")
    first.reset(seed=SEED), second.reset(seed=SEED)
    # The same token is drawn in both, whatever the gates: only the most probable one may be.
    for env, action in ((first, [0.0, 0.0, 0.0]), (second, [0.0, 1.0, 0.0])):
        env.episodes.uniforms[:, 0] = 0.0
        env._generation.modulation = ModulationConfig(top_k=1)
        env.step(np.tile(action, (4, 1)))
    same = [left == right for left, right in zip(first.token_ids(), second.token_ids(), strict=True)]
    assert any(same)
    p_first, p_second = first._generation.streams.latest.logits[same], second._generation.streams.latest.logits[same]
    torch.testing.assert_close(p_first, p_second, rtol=0, atol=1e-12)
    for env in (first, second):
        env._generation.modulation = ModulationConfig()
    difference = first.expected_rewards(GRID)[same] - second.expected_rewards(GRID)[same]
    assert (np.abs(difference) > 1e-9).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_same_episodes(make_env, dtype):
    env, other = make_env(dtype=dtype), make_env(dtype=dtype)
    np.testing.assert_array_equal(env.reset(seed=3)[0], other.reset(seed=3)[0])
    for actions in actions_for(4, 20):
        for left, right in zip(env.step(actions)[:4], other.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(left, right)
    assert env.token_ids() == other.token_ids()


def test_seeds_are_per_row(make_env):
    env = make_env(3)
    env.reset(seed=7)
    expected = env.token_ids()
    env.reset(seed=[7, 8, 9])
    assert env.token_ids() == expected
    env.reset(seed=[8, 7, 9])
    assert env.token_ids() == [expected[1], expected[0], expected[2]]
    assert len(env.np_random) == 3 and env.np_random_seed == (8, 7, 9)


def test_without_seed_episodes_go_on_from_the_generator(make_env):
    env, other = make_env(2), make_env(2)
    env.reset(seed=7), other.reset(seed=7)
    env.reset(), other.reset(seed=[None, None])
    assert env.token_ids() == other.token_ids()
    np.testing.assert_array_equal(env.episodes.uniforms, other.episodes.uniforms)
    other.reset()
    assert not np.array_equal(env.episodes.uniforms, other.episodes.uniforms)


def test_step_before_reset(make_env):
    with pytest.raises(gymnasium.error.ResetNeeded, match="Call `reset` before `step`"):
        make_env().step(np.zeros((4, 3)))


def test_slow_softmax():
    np.testing.assert_allclose(softmax(np.log([0.2, 0.3, 0.5])), [0.2, 0.3, 0.5])
