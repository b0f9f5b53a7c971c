from dataclasses import replace

import numpy as np
import pytest

from agents.baselines import baselines
from agents.baselines.baselines import Fixed, Neutral, Random, tune_static
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import Episodes
from lm.errors import InvalidValueError

OBSERVATIONS = np.zeros((4, 64), np.float32)


def test_fixed_and_neutral_gates() -> None:
    np.testing.assert_array_equal(Neutral().act(OBSERVATIONS), np.tile([0.5, 0, 0], (4, 1)))
    np.testing.assert_array_equal(Fixed((0.1, 0.2, 0.3)).act(OBSERVATIONS)[3], np.float32([0.1, 0.2, 0.3]))
    own = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    np.testing.assert_array_equal(Fixed(own).act(OBSERVATIONS), own)


@pytest.mark.parametrize("gates", [(0.1, 0.2), (0.1, 0.2, 1.2), (0.1, np.nan, 0.2), np.zeros((4, 2))])
def test_bad_fixed_gates_are_named(gates) -> None:
    with pytest.raises(InvalidValueError, match="^`gates` must "):
        Fixed(gates)


def test_random_gates_fill_the_box() -> None:
    gates = np.concatenate([Random(seed).act(OBSERVATIONS) for seed in range(200)])
    assert gates.shape == (800, 3)
    np.testing.assert_allclose(gates.mean(axis=0), 0.5, atol=0.05)
    assert gates.min() < 0.02
    assert gates.max() > 0.98


class FakeEnv:
    """Notes that it was closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


def fake_episodes(best: np.ndarray, calls: list[tuple[np.ndarray, tuple[int, ...]]]):
    """Stands for run_episodes: five tokens each, return -|gates - best| plus noise that depends on the seed alone."""

    def run(agent: Fixed, env: FakeEnv, seeds: list[int]) -> Episodes:
        calls.append((agent.gates, tuple(seeds)))
        noise = np.array([np.random.default_rng(seed).normal() for seed in seeds])
        rewards = np.zeros((len(seeds), 5))
        rewards[:, 0] = noise - np.abs(agent.gates - best).sum(axis=1)
        tokens = np.zeros((len(seeds), 5), np.int64)
        return Episodes(((0,),) * len(seeds), tokens, np.zeros((len(seeds), 5, 3)), rewards, {}, np.full(len(seeds), 5))

    return run


def test_tuning_finds_the_best_setting_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting meets the same episodes, so the noise, far larger than the differences, cancels out."""
    calls: list[tuple[np.ndarray, tuple[int, ...]]] = []
    env = FakeEnv()
    monkeypatch.setattr(EnvConfig, "make", lambda self, num_envs: env)
    monkeypatch.setattr(baselines, "run_episodes", fake_episodes(np.array([0.3, 1.0, 0.0]), calls))
    told: list[tuple[int, int]] = []
    config = EnvConfig(max_episode_steps=5)
    arguments = {"num_settings": 160, "env_steps": 40_000, "num_envs": 64}
    tuning = tune_static(config, **arguments, progress=lambda *state: told.append(state))

    assert np.abs(np.array(tuning.gates) - [0.3, 1.0, 0.0]).sum() < 0.25
    # A quarter of what is left for each of four rounds; whole batches of 64 rows, 5 tokens each, leave 9,920 at last.
    rounds = [(one.num_settings, one.episodes_per_setting) for one in tuning.rounds]
    assert rounds == [(160, 12), (40, 50), (10, 201), (3, 9920 // 15)]
    assert tuning.env_steps == 5 * 64 * len(calls)
    assert abs(tuning.env_steps - 40_000) < 4 * 5 * 64
    assert told[-1] == (tuning.env_steps, max(tuning.env_steps, 40_000))
    assert env.is_closed
    assert tuning.num_settings == 160
    assert tuning.agent().name == "best static"
    assert tuning.to_json()["rounds"][0]["num_settings"] == 160

    tried = np.unique(np.concatenate([gates for gates, _ in calls]), axis=0)
    assert len(tried) == 160
    assert any((gates == np.float32([0.5, 0, 0])).all() for gates in tried)
    for axis in range(3):  # the faces of the box are among what is tried
        assert tried[:, axis].min() == 0.0
        assert tried[:, axis].max() == 1.0

    # Episodes by setting: all settings of a round share theirs.
    seeds_of: dict[tuple[float, ...], set[int]] = {}
    for gates, seeds in calls[: 160 * 12 // 64]:
        for gate, seed in zip(gates.tolist(), seeds, strict=True):
            seeds_of.setdefault(tuple(gate), set()).add(seed)
    assert len(set(map(frozenset, seeds_of.values()))) == 1
    assert len(next(iter(seeds_of.values()))) == 12


def test_tuning_runs_on_the_real_environment(tiny_env: EnvConfig) -> None:
    tuning = tune_static(tiny_env, num_settings=8, env_steps=500, num_envs=8)
    again = tune_static(tiny_env, num_settings=8, env_steps=500, num_envs=8)
    assert tuning == again
    assert [one.num_settings for one in tuning.rounds] == [8, 2]
    assert 300 <= tuning.env_steps <= 600


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"num_settings": 0}, "`num_settings` must be at least 1"), ({"keep": 1.0}, "`keep` must be in \\(0, 1\\)")],
)
def test_bad_tuning_arguments_are_named(changes: dict, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        tune_static(replace(EnvConfig(), max_episode_steps=5), **changes)
