import json
import math
from dataclasses import replace

import numpy as np
import pytest

from agents.baselines import decoder_tuning
from agents.baselines.decoder_tuning import tune_decoder
from agents.baselines.decoders import DECODER_FAMILIES, Decoder
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import Episodes
from lm.errors import InvalidValueError

MIN_P = DECODER_FAMILIES["min-p"]


class FakeEnv:
    is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_the_best_setting_is_found_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five tokens an episode; the return falls with the distance from one setting, under noise of the seed's."""
    calls: list[tuple[tuple[float, ...], tuple[int, ...]]] = []

    def run(agent: Decoder, env: FakeEnv, seeds: list[int]) -> Episodes:
        given = agent.parameters
        calls.append((tuple(given.values()), tuple(seeds)))
        distance = abs(math.log(given["temperature"] / 0.6)) + abs(given["repetition_penalty"] - 1.5)
        rewards = np.zeros((len(seeds), 5))
        rewards[:, 0] = [np.random.default_rng(seed).normal() - distance for seed in seeds]
        tokens = np.zeros((len(seeds), 5), np.int64)
        return Episodes(((0,),) * len(seeds), tokens, np.zeros((len(seeds), 5, 3)), rewards, {}, np.full(len(seeds), 5))

    env = FakeEnv()
    monkeypatch.setattr(EnvConfig, "make", lambda self, num_envs: env)
    monkeypatch.setattr(decoder_tuning, "run_episodes", run)
    told: list[tuple[int, int]] = []
    config = EnvConfig(max_episode_steps=5)
    tuning = tune_decoder(MIN_P, config, env_steps=8000, num_envs=16, progress=lambda *state: told.append(state))

    assert abs(math.log(tuning.parameters["temperature"] / 0.6)) < 0.35
    assert abs(tuning.parameters["repetition_penalty"] - 1.5) < 0.35
    # 80 steps a batch: 4,800 for the search, and 10 batches for each of four finalists.
    assert len(tuning.trials) == 60
    assert [trial.episodes for trial in tuning.finalists] == [160] * 4
    assert tuning.env_steps == 80 * len(calls) == 8000
    assert told[-1] == (8000, 8000)
    assert env.is_closed

    defaults = {name: where.default for name, where in MIN_P.space.items()}
    assert tuning.trials[0].parameters == defaults
    assert len({seeds for _, seeds in calls[:60]}) == 1  # the search has the same episodes for all
    searched, final = set(calls[0][1]), {seed for _, seeds in calls[60:] for seed in seeds}
    assert len(final) == 160
    assert not searched & final
    best = sorted((trial.mean_return for trial in tuning.trials), reverse=True)
    found = {tuple(trial.parameters.values()): trial.mean_return for trial in tuning.trials}
    assert sorted((found[tuple(one.parameters.values())] for one in tuning.finalists), reverse=True) == best[:4]
    assert tuning.mean_return == max(trial.mean_return for trial in tuning.finalists)


def test_the_real_environment_is_tuned_alike_under_a_seed(tiny_env: EnvConfig) -> None:
    arguments = {"env_steps": 200, "num_envs": 4, "num_finalists": 2}
    tuning = tune_decoder(MIN_P, tiny_env, **arguments)
    assert tuning == tune_decoder(MIN_P, tiny_env, **arguments)
    assert tuning.parameters != tune_decoder(MIN_P, tiny_env, **arguments, seed=1).parameters
    assert tuning.env_steps <= 200
    assert tuning.agent().parameters == tuning.parameters
    assert tuning.agent().name == "best min-p"
    assert json.loads(json.dumps(tuning.to_json()))["parameters"] == tuning.parameters


def test_steps_for_one_trial_only_leave_no_final(tiny_env: EnvConfig) -> None:
    tuning = tune_decoder(MIN_P, tiny_env, env_steps=24, num_envs=4)
    assert len(tuning.trials) == 1
    assert not tuning.finalists
    assert tuning.mean_return == tuning.trials[0].mean_return


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_steps": 319}, "^`env_steps` must be at least 320, enough for one trial"),
        ({"num_finalists": 0}, "^`num_finalists` must be at least 1"),
        ({"final_share": 1.0}, "^`final_share` must be in \\[0, 1\\)"),
    ],
)
def test_bad_arguments_are_named(changes: dict, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        tune_decoder(MIN_P, replace(EnvConfig(), max_episode_steps=5), **changes)
