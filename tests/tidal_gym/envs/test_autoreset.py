"""The three autoreset modes, and the info dictionaries that go with them."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import NormalizeObservation, RecordEpisodeStatistics

from lm.errors import InvalidValueError
from tidal_gym.envs.env import TidalGatingEnv

STEP_KEYS = {
    "token", "log_prob", "entropy", "temperature", "penalty",
    "reward_perplexity", "reward_diversity", "reward_repetition", "reward_coherence",
}  # fmt: skip


def actions_for(rows: int, steps: int) -> np.ndarray:
    return np.random.default_rng(2).random((steps, rows, 3)).astype(np.float32)


@pytest.fixture
def make_sync(make_env, gated_folder):
    """Gymnasium's own SyncVectorEnv of scalar environments: what every mode must look like."""

    def make(num_envs: int, mode: AutoresetMode) -> SyncVectorEnv:
        prompts = make_env()._ezpickle_kwargs["prompts"]

        def one() -> TidalGatingEnv:
            return TidalGatingEnv(model=gated_folder, dtype="float64", prompts=prompts, max_episode_steps=12)

        return SyncVectorEnv([one] * num_envs, autoreset_mode=mode)

    return make


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_equals_gymnasiums_sync_vector_env(make_env, make_sync, mode):
    env = make_env(4, dtype="float64", autoreset_mode=mode)
    sync = make_sync(4, mode)
    np.testing.assert_allclose(env.reset(seed=11)[0], sync.reset(seed=11)[0], atol=1e-6)
    ends = 0
    for actions in actions_for(4, 26):
        *ours, infos = env.step(actions)
        *theirs, expected_infos = sync.step(actions)
        for left, right in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-6)
        compare_infos(infos, expected_infos)
        ends += int((ours[2] | ours[3]).sum())
    assert ends >= 6


def compare_infos(ours: dict, theirs: dict) -> None:
    """Same keys where any row has them, same masks, same values, at every depth."""
    present = {key for key in ours if not key.startswith("_") and ours[f"_{key}"].any()}
    assert present == {key for key in theirs if not key.startswith("_")}
    for key in present:
        mask = theirs[f"_{key}"]
        np.testing.assert_array_equal(ours[f"_{key}"], mask)
        if isinstance(ours[key], dict):
            compare_infos(ours[key], theirs[key])
            continue
        for row in np.flatnonzero(mask):
            np.testing.assert_allclose(ours[key][row], theirs[key][row], atol=1e-6)


def test_next_step_ignores_the_action_of_a_row_that_begins_anew(make_env):
    env, other = make_env(1, max_episode_steps=1), make_env(1, max_episode_steps=1)
    env.reset(seed=4), other.reset(seed=4)
    env.step([[0.2, 0.3, 0.4]]), other.step([[0.2, 0.3, 0.4]])
    observations, rewards, terminations, truncations, infos = env.step([[0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(observations, other.step([[1.0, 1.0, 1.0]])[0])
    assert rewards[0] == 0 and not terminations[0] and not truncations[0]
    assert not infos["_token"][0]
    assert observations[0, 58] == 0 and tuple(observations[0, 60:64]) == (0.5, 0, 0, 0)


def test_same_step_returns_copies_of_what_ended(make_env):
    env = make_env(3, autoreset_mode="SameStep", max_episode_steps=3)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    env.reset(seed=1)
    contexts = env.token_ids()
    for actions in actions_for(3, 3):
        observations, _, terminations, truncations, infos = env.step(actions)
        for row in np.flatnonzero(terminations | truncations):
            final, info = infos["final_obs"][row], infos["final_info"]
            assert final.shape == (64,) and not np.shares_memory(final, observations)
            assert final[58] == pytest.approx((len(info["token_ids"][row]) - len(contexts[row])) / 3)
            assert info["token_ids"][row][: len(contexts[row])] == contexts[row]
            assert info["token_ids"][row][-1] == info["token"][row]
            assert observations[row, 58] == 0  # a new episode
            contexts[row] = env.token_ids()[row]
    assert {key for key in infos["final_info"] if not key.startswith("_")} == STEP_KEYS | {"token_ids"}


def test_disabled_waits_for_a_masked_reset(make_env):
    env = make_env(3, autoreset_mode="DISABLED", max_episode_steps=3)
    env.reset(seed=1)
    over = np.zeros(3, bool)
    while not over.any():
        before, _, terminations, truncations, infos = env.step(np.tile(env.neutral_action, (3, 1)))
        over = terminations | truncations
    assert infos["token_ids"][over.argmax()] == env.token_ids()[over.argmax()]
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"rows \[.*\] have ended"):
        env.step(np.zeros((3, 3)))
    texts = env.texts()
    mask = over | np.array([True, False, False])
    observations, _ = env.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal(observations[~mask], before[~mask])
    assert (observations[mask, 58] == 0).all()
    assert [text for text, reset in zip(env.texts(), mask, strict=True) if not reset] == [
        text for text, reset in zip(texts, mask, strict=True) if not reset
    ]
    env.step(np.zeros((3, 3)))


def test_a_masked_reset_seeds_the_rows_it_names(make_env):
    env, other = make_env(3, autoreset_mode="Disabled"), make_env(3, autoreset_mode="Disabled")
    env.reset(seed=1), other.reset(seed=50)
    env.reset(seed=[9, 51, 9], options={"reset_mask": np.array([False, True, False])})
    assert env.token_ids()[1] == other.token_ids()[1]
    np.testing.assert_array_equal(env.episodes.uniforms[1], other.episodes.uniforms[1])
    assert env.np_random_seed == (1, 51, 3)


@pytest.mark.parametrize("mask", [[True, False], np.array([1, 0]), np.array([True]), np.array([False, False])])
def test_bad_masks(make_env, mask):
    env = make_env(2)
    env.reset(seed=0)
    with pytest.raises(InvalidValueError, match=r"`options\['reset_mask'\]` must be a numpy array of bool"):
        env.reset(options={"reset_mask": mask})


def test_bad_seeds(make_env):
    with pytest.raises(InvalidValueError, match="`seed` must be an integer or a list of 2 seeds"):
        make_env(2).reset(seed=[1])


def test_bad_mode(make_env):
    with pytest.raises(InvalidValueError, match="`autoreset_mode` must be one of NextStep, SameStep, Disabled"):
        make_env(2, autoreset_mode="sometimes")


def test_infos_hold_all_terms_and_fresh_arrays(make_env):
    env = make_env(4)
    env.reset(seed=0)
    first = env.step(np.zeros((4, 3)))[4]
    second = env.step(np.zeros((4, 3)))[4]
    assert {key for key in first if not key.startswith("_")} == STEP_KEYS | ({"token_ids"} & set(first))
    for info in (first, second):
        for key in STEP_KEYS:
            assert info[key].shape == (4,) and info[f"_{key}"].dtype == np.bool_
    assert not any(np.shares_memory(first[key], second[key]) for key in STEP_KEYS)
    assert first["token"].dtype == np.int64


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_gymnasiums_episode_statistics(make_env, mode):
    env = RecordEpisodeStatistics(make_env(4, autoreset_mode=mode, max_episode_steps=5))
    env.reset(seed=0)
    for actions in actions_for(4, 12):
        env.step(actions)
    assert env.episode_count >= 4
    assert max(env.length_queue) == 5


def test_gymnasiums_observation_normalization(make_env):
    env = NormalizeObservation(make_env(4))
    env.reset(seed=0)
    for actions in actions_for(4, 20):
        observations = env.step(actions)[0]
    assert np.isfinite(observations).all()
