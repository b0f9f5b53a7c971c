import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.baselines import setting_runner
from agents.baselines.baselines import Fixed
from agents.baselines.decoders import DECODER_FAMILIES, Decoder
from agents.baselines.search_space import Range
from agents.baselines.tuning import FAMILIES, Tuning, read_tuning, tune
from agents.baselines.tuning_strategies import TPE, Strategy, SuccessiveHalving, Trial
from agents.episodes.agent import Agent
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import Episodes
from lm.errors import CheckpointError, InvalidValueError
from lm.runs.progress import Progress
from lm.runs.stop import RunCancelledError, StopRequest

SHORT = EnvConfig(max_episode_steps=8, dtype="float64")

STATIC = (  # seed, gates, best mean return of the first round, and of the last
    (0, (0.12990046134218575, 0.5525746152736246, 1.0), 0.9012588197324246, 0.8274841172438105),
    (7, (0.22110622236505156, 0.0, 0.046425408590585), 1.0784393052397736, 0.9568964805251408),
)
"""Found by successive halving when it was a tuner of its own."""

DECODERS = (  # family, parameters, mean returns of the search, and of the final
    ("top-k", {"top_k": 40, "temperature": 1.0, "repetition_penalty": 1.0},
     [0.851640118136, -0.232762168093, -1.039677328495, 0.096008074801, 0.551135761746,
      0.901568493698, 0.546449760526, 0.91249419123, 0.650796620372],
     [0.800259937333, 0.779302597608, 0.829008942999, 0.616358823218]),
    ("mirostat", {"tau": 3.024247453909201, "eta": 0.03605575261461108, "temperature": 1.423561246411015,
                  "repetition_penalty": 1.9},
     [1.092501683645, 0.792344531134, 0.708744829883, 0.063280087405, 1.104523756049,
      0.063280087405, 0.115977122928, 0.841169159463, 0.063280087405],
     [1.02975208827, 0.918735054952, 0.648582085321, 0.659646713887]),
)  # fmt: skip
"""Found by TPE when it was a tuner of its own."""


class FakeEnv:
    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class FakeRuns:
    """Stands for `run_episodes`: five tokens an episode; the return is that of the settings, plus noise of the seed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
        self.env = FakeEnv()
        self.calls: list[tuple[Agent, tuple[int, ...]]] = []
        self.value = value
        monkeypatch.setattr(EnvConfig, "make", lambda config, num_envs: self.env)
        monkeypatch.setattr(setting_runner, "run_episodes", self)

    def __call__(self, agent: Agent, env: FakeEnv, seeds: list[int], stop: StopRequest | None) -> Episodes:
        if stop is not None:
            stop.raise_if_cancelled()
        self.calls.append((agent, tuple(seeds)))
        shape = (len(seeds), 5)
        rewards = np.zeros(shape)
        rewards[:, 0] = self.value(agent) + np.array([np.random.default_rng(seed).normal() for seed in seeds])
        tokens = np.zeros(shape, np.int64)
        return Episodes(((0,),) * len(seeds), tokens, np.zeros((*shape, 3)), rewards, {}, np.full(len(seeds), 5))


@pytest.mark.parametrize(("seed", "gates", "first", "last"), STATIC)
def test_static_gates_are_those_found_before(seed: int, gates: tuple[float, ...], first: float, last: float) -> None:
    tuning = tune("static", SHORT, env_steps=3000, num_envs=16, strategy=SuccessiveHalving(24), seed=seed)
    assert list(tuning.parameters) == ["creativity", "focus", "stability"]
    assert tuple(tuning.parameters.values()) == pytest.approx(gates, rel=1e-12)
    assert tuning.mean_return == pytest.approx(last, rel=1e-6)
    assert max(trial.mean_return for trial in tuning.rounds[0]) == pytest.approx(first, rel=1e-6)
    assert [(len(trials), trials[0].episodes) for trials in tuning.rounds] == [(24, 7), (6, 7 + 33)]
    assert tuning.env_steps == 3072


@pytest.mark.parametrize(("family", "parameters", "search", "final"), DECODERS)
def test_decoders_are_those_found_before(
    family: str, parameters: Mapping[str, float], search: list[float], final: list[float]
) -> None:
    tuning = tune(family, SHORT, env_steps=1024, num_envs=8, seed=3)
    assert dict(tuning.parameters) == pytest.approx(parameters, rel=1e-9)
    assert [trial.mean_return for trial in tuning.rounds[0]] == pytest.approx(search, rel=1e-6)
    assert [trial.mean_return for trial in tuning.rounds[1]] == pytest.approx(final, rel=1e-6)
    assert (tuning.mean_return, tuning.env_steps) == (max(trial.mean_return for trial in tuning.rounds[1]), 832)


@pytest.mark.parametrize("is_minimum", [False, True])
@pytest.mark.parametrize("num_envs", [1, 4, 64])
@pytest.mark.parametrize("strategy", [SuccessiveHalving(17), SuccessiveHalving(5, 0.9), TPE(3), TPE(final_share=0)])
@pytest.mark.parametrize("family", ["static", "min-p"])
def test_every_strategy_keeps_the_budget(
    family: str, strategy: Strategy, num_envs: int, is_minimum: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = FakeRuns(monkeypatch, lambda agent: 0.0)
    told: list[Progress] = []
    batch = 5 * num_envs
    least = strategy.least_steps(setting_runner.Rows(num_envs, 5, FAMILIES[family].is_per_row))
    for env_steps in (least, least + 7, 3 * least + 1):
        runs.calls.clear()
        told.clear()
        tuning = tune(
            family,
            EnvConfig(max_episode_steps=5),
            env_steps=env_steps,
            is_minimum=is_minimum,
            num_envs=num_envs,
            strategy=strategy,
            progress=told.append,
        )
        assert tuning.env_steps == batch * len(runs.calls)
        assert told[-1].done == tuning.env_steps <= told[-1].total
        assert [report.done for report in told] == [batch * (1 + call) for call in range(len(runs.calls))]
        assert {(report.stage, report.unit) for report in told} == {(f"Tuning {family}", "env steps")}
        if is_minimum:
            assert tuning.env_steps >= env_steps
        else:
            assert tuning.env_steps < env_steps + batch
            assert isinstance(strategy, SuccessiveHalving) or tuning.env_steps <= env_steps
        assert tuning.mean_return == max(trial.mean_return for trial in tuning.rounds[-1])


@pytest.mark.parametrize(
    ("family", "strategy", "least"),
    [
        ("static", SuccessiveHalving(17), 3 * 40 + 40),  # 17 and 5 settings, 8 rows
        ("min-p", SuccessiveHalving(17), 17 * 40 + 5 * 40),  # a batch for each setting
        ("static", TPE(), 40),
    ],
)
def test_too_small_a_budget_is_named(family: str, strategy: Strategy, least: int) -> None:
    with pytest.raises(InvalidValueError, match=f"^`env_steps` must be at least {least} to tune {family} with "):
        tune(family, EnvConfig(max_episode_steps=5), env_steps=least - 1, num_envs=8, strategy=strategy)


def test_tpe_finds_the_best_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The return falls with the distance from one setting; trials share episodes, the final has new ones."""

    def value(agent: Decoder) -> float:
        given = agent.parameters
        return -abs(math.log(given["temperature"] / 0.6)) - abs(given["repetition_penalty"] - 1.5)

    runs = FakeRuns(monkeypatch, value)
    tuning = tune("min-p", EnvConfig(max_episode_steps=5), env_steps=8000, num_envs=16)
    assert abs(math.log(tuning.parameters["temperature"] / 0.6)) < 0.35
    assert abs(tuning.parameters["repetition_penalty"] - 1.5) < 0.35
    # 80 steps a batch: 4,800 for the search, and 10 batches for each of four finalists.
    search, final = tuning.rounds
    assert len(search) == tuning.num_settings == 60
    assert [trial.episodes for trial in final] == [160] * 4
    assert tuning.env_steps == 80 * len(runs.calls) == 8000
    assert runs.env.is_closed

    assert search[0].parameters == {name: where.default for name, where in DECODER_FAMILIES["min-p"].space.items()}
    assert len({seeds for _, seeds in runs.calls[:60]}) == 1
    searched, new = set(runs.calls[0][1]), {seed for _, seeds in runs.calls[60:] for seed in seeds}
    assert len(new) == 160
    assert not searched & new
    best = sorted((trial.mean_return for trial in search), reverse=True)
    found = {tuple(trial.parameters.values()): trial.mean_return for trial in search}
    assert sorted((found[tuple(one.parameters.values())] for one in final), reverse=True) == best[:4]


def test_steps_for_one_trial_only_leave_no_final(tiny_env: EnvConfig) -> None:
    tuning = tune("min-p", tiny_env, env_steps=24, num_envs=4)
    assert len(tuning.trials) == len(tuning.rounds) == 1
    assert tuning.mean_return == tuning.trials[0].mean_return


def test_halving_finds_the_best_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting meets the same episodes, so the noise, far larger than the differences, cancels out."""
    best = np.array([0.3, 1.0, 0.0])

    def value(agent: Fixed) -> np.ndarray:
        return -np.abs(agent.gates - best).sum(axis=1)

    runs = FakeRuns(monkeypatch, value)
    tuning = tune("static", EnvConfig(max_episode_steps=5), env_steps=40_000, strategy=SuccessiveHalving(160))
    assert np.abs(np.array(list(tuning.parameters.values())) - best).sum() < 0.25
    # A quarter of what is left for each of four rounds; whole batches of 64 rows, 5 tokens each, leave 9,920 at last.
    rounds = [(len(trials), trials[0].episodes) for trials in tuning.rounds]
    assert rounds == [(160, 12), (40, 12 + 50), (10, 62 + 201), (3, 263 + 9920 // 15)]
    assert tuning.num_settings == 160
    assert tuning.env_steps == 5 * 64 * len(runs.calls)
    assert runs.env.is_closed

    first_round = runs.calls[: 160 * 12 // 64]
    tried = np.unique(np.concatenate([agent.gates for agent, _ in first_round]), axis=0)
    assert len(tried) == 160
    assert any((gates == np.float32([0.5, 0, 0])).all() for gates in tried)
    for axis in range(3):  # the faces of the box are among what is tried
        assert tried[:, axis].min() == 0.0
        assert tried[:, axis].max() == 1.0
    seeds_of: dict[tuple[float, ...], set[int]] = {}
    for agent, seeds in first_round:
        for gate, seed in zip(agent.gates.tolist(), seeds, strict=True):
            seeds_of.setdefault(tuple(gate), set()).add(seed)
    assert len(set(map(frozenset, seeds_of.values()))) == 1
    assert len(next(iter(seeds_of.values()))) == 12


class StopAfter:
    """Requests that a search ends after so many batches; before the first one for 0."""

    def __init__(self, batches: int, how: str) -> None:
        self.stop = StopRequest()
        self._left, self._how = batches, how
        if batches == 0:
            getattr(self.stop, how)()

    def __call__(self, progress: Progress) -> None:
        self._left -= 1
        if self._left == 0:
            getattr(self.stop, self._how)()


def tuned(monkeypatch: pytest.MonkeyPatch, family: str, strategy: Strategy, control: StopAfter) -> tuple[Tuning, int]:
    """The tuning of settings whose return is their temperature, or their focus, and the number of batches run."""

    def value(agent: Any) -> Any:
        return agent.parameters["temperature"] if isinstance(agent, Decoder) else agent.gates[:, 1]

    runs = FakeRuns(monkeypatch, value)
    options: dict[str, Any] = {"env_steps": 800, "num_envs": 4, "strategy": strategy}
    tuning = tune(family, EnvConfig(max_episode_steps=5), **options, progress=control, stop=control.stop)
    assert runs.env.is_closed and tuning.env_steps == 20 * len(runs.calls)
    best = max(tuning.rounds[-1], key=lambda trial: trial.mean_return)
    assert (tuning.parameters, tuning.mean_return) == (best.parameters, best.mean_return)
    return tuning, len(runs.calls)


@pytest.mark.parametrize(
    ("batches", "rounds"),
    [  # 8 settings in two batches of 4 rows an episode, then 2 settings, of which a batch runs two episodes
        (0, [(8, 1)]),
        (1, [(8, 1)]),
        (4, [(8, 2)]),
        (5, [(8, 2)]),
        (20, [(8, 10)]),
        (21, [(8, 10), (2, 12)]),
        (40, [(8, 10), (2, 50)]),
    ],
)
def test_halving_that_is_to_finish_compares_the_episodes_so_far(
    monkeypatch: pytest.MonkeyPatch, batches: int, rounds: list[tuple[int, int]]
) -> None:
    tuning, run = tuned(monkeypatch, "static", SuccessiveHalving(8), StopAfter(batches, "finish"))
    assert [(len(trials), trials[0].episodes) for trials in tuning.rounds] == rounds
    assert run == max(2, batches)
    whole, _ = tuned(monkeypatch, "static", SuccessiveHalving(8), StopAfter(1000, "finish"))
    if len(rounds) == 2:
        assert tuning.rounds[0] == whole.rounds[0]
    if batches == 40:
        assert tuning == whole


def test_halving_with_equal_rows_that_is_to_finish_runs_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for batches, episodes in ((1, 4), (8, 4), (15, 4), (16, 8)):
        tuning, run = tuned(monkeypatch, "temperature", SuccessiveHalving(8), StopAfter(batches, "finish"))
        assert [(len(trials), trials[0].episodes) for trials in tuning.rounds] == [(8, episodes)]
        assert run == max(8, batches)


@pytest.mark.parametrize(
    ("batches", "rounds"),
    [(0, [1]), (1, [1]), (9, [9]), (24, [24]), (25, [24]), (39, [24]), (40, [24, 4])],  # 24 trials, 4 finalists
)
def test_tpe_that_is_to_finish_has_a_whole_final_or_none(
    monkeypatch: pytest.MonkeyPatch, batches: int, rounds: list[int]
) -> None:
    tuning, run = tuned(monkeypatch, "temperature", TPE(), StopAfter(batches, "finish"))
    assert [len(trials) for trials in tuning.rounds] == rounds
    assert run == max(1, batches)


@pytest.mark.parametrize(("family", "strategy"), [("static", SuccessiveHalving(8)), ("temperature", TPE())])
@pytest.mark.parametrize("batches", [0, 1, 30])
def test_a_search_that_is_to_cancel_ends_at_once(
    monkeypatch: pytest.MonkeyPatch, family: str, strategy: Strategy, batches: int
) -> None:
    calls: list[Progress] = []
    control = StopAfter(batches, "cancel")
    runs = FakeRuns(monkeypatch, lambda agent: 0.0)

    def report(progress: Progress) -> None:
        calls.append(progress)
        control(progress)

    options: dict[str, Any] = {"env_steps": 800, "num_envs": 4, "strategy": strategy}
    with pytest.raises(RunCancelledError):
        tune(family, EnvConfig(max_episode_steps=5), **options, progress=report, stop=control.stop)
    assert len(calls) == len(runs.calls) == batches and runs.env.is_closed


def test_sizes_of_rounds_shrink_whatever_is_kept() -> None:
    assert SuccessiveHalving(256).sizes == (256, 64, 16, 4)
    assert SuccessiveHalving(5, keep=0.9).sizes == (5, 4, 3, 2)
    assert SuccessiveHalving(1).sizes == (1,)


@pytest.mark.parametrize(("family", "strategy"), [("static", SuccessiveHalving(8)), ("static", TPE(2)),
                                                  ("min-p", SuccessiveHalving(4)), ("min-p", TPE(2))])  # fmt: skip
def test_the_real_environment_is_tuned_alike_under_a_seed(
    tiny_env: EnvConfig, family: str, strategy: Strategy, tmp_path: Path
) -> None:
    arguments = {"env_steps": 400, "num_envs": 4, "strategy": strategy}
    tuning = tune(family, tiny_env, **arguments)
    assert tuning == tune(family, tiny_env, **arguments)
    assert tuning.trials != tune(family, tiny_env, **arguments, seed=1).trials
    assert tuning.agent().name == f"best {family}"
    path = tmp_path / "tuning.json"
    path.write_text(json.dumps(tuning.to_json()), encoding="utf-8")
    assert read_tuning(path) == tuning


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    def trial(top_k: int, mean: float) -> dict[str, Any]:
        return {"parameters": {"top_k": top_k, "temperature": 1.0}, "mean_return": mean, "episodes": 4}

    old = {"family": "top-k", "parameters": {"top_k": 7, "temperature": 1.0}, "mean_return": 1.5, "env_steps": 96,
           "seed": 1, "trials": [trial(7, 2.0), trial(9, 1.0)], "finalists": [trial(7, 1.5)]}  # fmt: skip
    path = tmp_path / "top-k.json"
    path.write_text(json.dumps(old), encoding="utf-8")
    tuning = read_tuning(path)
    assert [len(trials) for trials in tuning.rounds] == [2, 1]
    assert tuning.trials[-1] == Trial({"top_k": 7, "temperature": 1.0}, 1.5, 4, round=1)
    assert tuning.agent().parameters["top_k"] == 7


def test_family_and_parameters_are_enough() -> None:
    tuning = Tuning.from_json({"family": "static", "parameters": {"focus": 0.25}, "note": "by hand"}, "tuned.json")
    np.testing.assert_array_equal(tuning.agent().gates, [0.5, 0.25, 0.0])
    assert math.isnan(tuning.mean_return)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"family": "static"}, "`parameters` must be there"),
        ({"family": "greedy", "parameters": {}}, "holds no tuning result: .* must be one of static, temperature"),
        ({"family": "static", "parameters": {"focus": 2}}, r"holds no tuning result: `gates` must "),
        ({"family": "top-k", "parameters": {}, "trials": [5], "finalists": [6]}, "is damaged"),
    ],
)
def test_content_without_a_tuning_is_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=f"^tuned.json .*{message}"):
        Tuning.from_json(content, "tuned.json")


def test_shares_of_ranges() -> None:
    assert [Range(0.0, 1.0, default=0.5).at(share) for share in (0, 0.3, 1)] == [0, 0.3, 1]
    assert Range(0.5, 8.0, default=3.0, is_log=True).at(0.5) == pytest.approx(2)
    assert Range(1, 1000, default=40, is_log=True).at(1 / 3) == 10
    assert Range(1.0, 2.5, default=1.0, step=0.025).at(0.51) == pytest.approx(1.775)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SuccessiveHalving(0), "^`num_settings` must be at least 1"),
        (lambda: SuccessiveHalving(keep=1.0), "^`keep` must be in \\(0, 1\\)"),
        (lambda: TPE(num_finalists=0), "^`num_finalists` must be at least 1"),
        (lambda: TPE(final_share=1.0), "^`final_share` must be in \\[0, 1\\)"),
        (lambda: tune("greedy", EnvConfig()), "^`decoder` must be one of static, temperature"),
        (lambda: tune("static", EnvConfig(), seed=-1), "^`seed` must be at least 0"),
        (lambda: tune("static", EnvConfig(), num_envs=0), "^`num_envs` must be at least 1"),
    ],
)
def test_bad_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        make()
