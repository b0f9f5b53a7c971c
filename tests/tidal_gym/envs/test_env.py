"""The registered environment: `make`, `make_vec`, both checkers, episode limits, pickling, JSON, import."""

from __future__ import annotations

import copy
import doctest
import pickle
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
import stable_baselines3.common.env_checker
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import tidal_gym
from lm.errors import InvalidValueError, ModelFolderError
from lm.model_names import bundled_models
from tests.tidal_gym.conftest import OPENINGS
from tidal_gym.envs import env as env_module
from tidal_gym.envs.episode_limit import DEFAULT_EPISODE_STEPS

ID = "TidalGating-v0"


@pytest.fixture
def settings(gated_folder) -> dict:
    return {"model": gated_folder, "prompts": list(OPENINGS), "prompt_tokens": [3, 6]}


@pytest.fixture
def endless(endless_folder) -> dict:
    """Settings under which no text ends by itself."""
    return {"model": endless_folder, "prompts": ["The old clock in the kitchen"], "prompt_tokens": [3, 6]}


def episode_length(env: gymnasium.Env) -> int:
    env.reset(seed=0)
    for length in range(1, 1000):
        _, _, terminated, truncated, _ = env.step(env.unwrapped.neutral_action)
        if terminated or truncated:
            assert truncated
            return length
    raise AssertionError("the episode does not end")


def test_spaces_and_registration(settings):
    env = gymnasium.make(f"tidal_gym:{ID}", **settings)
    assert env.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (64,), np.float32)
    assert env.action_space == gymnasium.spaces.Box(0.0, 1.0, (3,), np.float32)
    assert env.spec.id == ID and env.spec.max_episode_steps == DEFAULT_EPISODE_STEPS == 50
    assert gymnasium.spec(ID).entry_point == "tidal_gym.envs.env:TidalGatingEnv"
    assert gymnasium.spec(ID).vector_entry_point == "tidal_gym.envs.vector_env:TidalGatingVectorEnv"
    assert set(tidal_gym.__all__) <= set(dir(tidal_gym))
    assert all(getattr(tidal_gym, name) is not None for name in tidal_gym.__all__)


@pytest.mark.unseeded  # the checker resets without a seed, and wants only that it works
def test_gymnasiums_checker(settings):
    env = gymnasium.make(ID, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped)
    # The observation is unbounded on purpose; about everything else the checker is content.
    assert all("infinity. This is probably too" in str(warning.message) for warning in caught)


def test_stable_baselines3s_checker(settings):
    env = gymnasium.make(ID, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stable_baselines3.common.env_checker.check_env(env, warn=True)
    # Gates lie in [0, 1] and not in [-1, 1].
    assert all("symmetric and normalized Box action space" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("limit", [None, 7, 80])
def test_make_gives_episodes_of_the_length_asked_for(endless, limit):
    """... with the observation and the caches made for it."""
    expected = limit or 50
    env = gymnasium.make(ID, max_episode_steps=limit, **endless)
    assert episode_length(env) == expected
    assert env.unwrapped.batch.max_episode_steps == expected
    env.reset(seed=0)
    assert env.step(env.unwrapped.neutral_action)[0][58] == pytest.approx(1 / expected)
    remade = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert episode_length(remade) == expected


@pytest.mark.parametrize("mode", [None, "sync"])
def test_make_vec_gives_episodes_of_the_length_asked_for(endless, mode):
    env = gymnasium.make_vec(ID, num_envs=2, max_episode_steps=80, vectorization_mode=mode, **endless)
    env.reset(seed=0)
    action = np.tile(np.float32([0.5, 0, 0]), (2, 1))
    for step in range(1, 81):
        observations, _, terminations, truncations, _ = env.step(action)
        assert observations[:, 58] == pytest.approx(step / 80)
        assert not terminations.any() and (truncations == (step == 80)).all()


def test_make_vec_with_the_default_limit(endless):
    assert gymnasium.make_vec(ID, num_envs=2, **endless).max_episode_steps == 50


def test_own_limit_without_a_time_limit_wrapper(endless):
    assert episode_length(gymnasium.make(ID, max_episode_steps=-1, **endless)) == 50
    assert episode_length(tidal_gym.TidalGatingEnv(max_episode_steps=5, **endless)) == 5
    assert episode_length(tidal_gym.TidalGatingEnv(**endless)) == 50


def test_an_id_of_ones_own_keeps_its_limit(endless):
    gymnasium.register("TidalGatingShort-v0", entry_point="tidal_gym.envs.env:TidalGatingEnv", max_episode_steps=9)
    try:
        env = gymnasium.make("TidalGatingShort-v0", **endless)
        assert episode_length(env) == 9 and env.unwrapped.batch.max_episode_steps == 9
    finally:
        gymnasium.registry.pop("TidalGatingShort-v0")


def test_the_limit_of_an_environment_around_it_is_not_its_own(endless):
    class Around(gymnasium.Wrapper):
        def __init__(self):
            super().__init__(tidal_gym.TidalGatingEnv(**endless))

    gymnasium.register("Around-v0", entry_point=Around, max_episode_steps=5)
    try:
        assert gymnasium.make("Around-v0").unwrapped.batch.max_episode_steps == 50
    finally:
        gymnasium.registry.pop("Around-v0")


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
def test_episode_longer_than_the_context(endless, make):
    prompt = 1 + 6  # special prefix, and 3 to 6 tokens of the opening
    longest = 96 - prompt - 1
    message = (
        rf"`max_episode_steps` must be at most {longest} for prompts of up to {prompt} tokens .*Received {longest + 1}"
    )
    with pytest.raises(InvalidValueError, match=message):
        make(ID, max_episode_steps=longest + 1, **endless)


def test_the_longest_episode_fits(endless):
    env = tidal_gym.TidalGatingVectorEnv(2, max_episode_steps=96 - 7 - 1, **endless)
    env.reset(seed=0)
    for _ in range(env.max_episode_steps + 2):  # to the end, the idle step of NEXT_STEP autoreset, and one more
        observations = env.step(np.tile(env.neutral_action, (2, 1)))[0]
    np.testing.assert_allclose(observations[:, 58], 1 / env.max_episode_steps)


@pytest.mark.parametrize("limit", [0, -3, 2.5, True])
def test_bad_limits(settings, limit):
    with pytest.raises(InvalidValueError, match="`max_episode_steps` must be (an integer|at least 1)"):
        tidal_gym.TidalGatingEnv(max_episode_steps=limit, **settings)


def test_other_bad_arguments(settings, tmp_path):
    with pytest.raises(InvalidValueError, match="`num_envs` must be at least 1"):
        tidal_gym.TidalGatingVectorEnv(0, **settings)
    with pytest.raises(InvalidValueError, match="`render_mode` must be None or one of human, ansi, rgb_array"):
        tidal_gym.TidalGatingEnv(render_mode="svg", **settings)
    with pytest.raises(TypeError, match="unexpected keyword argument 'modle'"):
        gymnasium.make(ID, modle="tidal-tiny")
    with pytest.raises(ModelFolderError):
        gymnasium.make(ID, model=str(tmp_path / "nothing"))


def test_bad_action_of_a_scalar_environment(settings):
    env = gymnasium.make(ID, **settings)
    env.reset(seed=0)
    with pytest.raises(
        InvalidValueError, match=r"`action` must be finite and lie in \[0, 1\]\. Received 2\.0 for focus"
    ):
        env.step(np.float32([0.5, 2.0, 0.0]))
    with pytest.raises(InvalidValueError, match=r"`action` must have shape \(3,\)\. Received shape \(1, 3\)"):
        env.step(np.float32([[0.5, 0.0, 0.0]]))


def test_step_after_the_end(endless):
    env = tidal_gym.TidalGatingEnv(max_episode_steps=1, **endless)
    env.reset(seed=0)
    env.step(env.neutral_action)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.neutral_action)


def test_scalar_types(settings):
    env = gymnasium.make(ID, **settings)
    observation, info = env.reset(seed=5)
    assert observation.shape == (64,) and observation.dtype == np.float32 and info == {}
    _, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert type(reward) is float and type(terminated) is bool and type(truncated) is bool
    assert type(info["token"]) is int and all(type(value) is float for key, value in info.items() if key != "token")
    weights = {"perplexity": 0.4, "diversity": 0.3, "repetition": 0.2, "coherence": 0.1}
    assert reward == pytest.approx(sum(weight * info[f"reward_{name}"] for name, weight in weights.items()))
    assert env.unwrapped.bundle.tokenizer.decode(env.unwrapped.token_ids()).endswith(env.unwrapped.text())


def test_a_generator_can_be_set(settings):
    env = tidal_gym.TidalGatingEnv(**settings)
    env.np_random = np.random.default_rng(3)
    first, _ = env.reset()
    env.np_random = np.random.default_rng(3)
    np.testing.assert_array_equal(first, env.reset()[0])


@pytest.mark.parametrize("copied", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
def test_a_pickled_environment_is_made_again(settings, copied):
    env = gymnasium.make(ID, max_episode_steps=60, **settings)
    assert len(pickle.dumps(env)) < 5000  # no model inside
    again = copied(env)
    assert again.unwrapped.bundle is env.unwrapped.bundle  # loaded once a process
    assert again.unwrapped.batch.max_episode_steps == 60
    assert again.spec == env.spec and again.unwrapped.spec is not None
    assert_same_episodes(env, again)


def test_a_pickled_vector_environment_is_made_again(settings):
    env = gymnasium.make_vec(ID, num_envs=3, autoreset_mode="SameStep", **settings)
    again = pickle.loads(pickle.dumps(env))
    assert again.num_envs == 3 and again.autoreset_mode is AutoresetMode.SAME_STEP and again.spec == env.spec
    assert_same_episodes(env, again)


def test_specification_goes_through_json(settings):
    arguments = {**settings, "modulation": {"base_penalty": 1.2}, "reward_weights": {"coherence": 0.2}}
    env = gymnasium.make(ID, **arguments)
    assert_same_episodes(env, gymnasium.make(EnvSpec.from_json(env.spec.to_json())))
    batch = gymnasium.make_vec(ID, num_envs=2, autoreset_mode="Disabled", **arguments)
    again = gymnasium.make_vec(EnvSpec.from_json(batch.spec.to_json()))
    assert again.num_envs == 2 and again.autoreset_mode is AutoresetMode.DISABLED
    assert_same_episodes(batch, again)


def assert_same_episodes(env, other) -> None:
    np.testing.assert_array_equal(env.reset(seed=9)[0], other.reset(seed=9)[0])
    actions = np.random.default_rng(0).random((2, *env.action_space.shape), dtype=np.float32)
    for action in actions:
        np.testing.assert_array_equal(env.step(action)[0], other.step(action)[0])


def test_gymnasiums_vectorizers(settings):
    env = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="sync", **settings)
    assert isinstance(env, SyncVectorEnv)
    batch = gymnasium.make_vec(ID, num_envs=2, **settings)
    assert isinstance(batch, tidal_gym.TidalGatingVectorEnv)
    np.testing.assert_allclose(env.reset(seed=3)[0], batch.reset(seed=3)[0], atol=1e-4)


def test_import_is_light():
    """Seconds depend on the machine, and what is imported does not."""
    code = "import sys, tidal_gym; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "datasets", "scipy", "matplotlib", "stable_baselines3", "safetensors", "rich"}
    assert heavy.isdisjoint(run.stdout.split())


@pytest.mark.skipif("tidal-tiny" not in bundled_models(), reason="the bundled model is not in the checkout")
def test_the_manuals_example_runs():
    results = doctest.testmod(env_module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted > 5 and results.failed == 0


def test_the_manual_lists_every_argument():
    manual = tidal_gym.TidalGatingEnv.__doc__
    vector = set(tidal_gym.TidalGatingVectorEnv.__init__.__kwdefaults__) - {"autoreset_mode"}
    assert all(f"| `{name}` " in manual for name in vector)
