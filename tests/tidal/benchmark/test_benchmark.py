from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.episodes.env_config import EnvConfig
from agents.evaluation.intervals import Interval
from agents.evaluation.text_measures import MEASURES, Measure, TextMeasures
from agents.training.config import PPOConfig, TrainConfig, WarmStartConfig
from agents.training.run import train
from lm.errors import InvalidValueError
from lm.runs.events import read_events
from lm.runs.progress import Progress
from lm.runs.record import read_record
from lm.runs.stop import RunCancelledError, StopRequest
from tests.tidal.cli.untrusted.canaries import CANARIES, planted, text_fields
from tidal.benchmark.config import BenchmarkConfig
from tidal.benchmark.report import render_report
from tidal.benchmark.results import collect_results
from tidal.benchmark.run import claimed_folder, publish, run_benchmark
from tidal.benchmark.stages import stages_of
from tidal.cli.commands import benchmark as command
from tidal.cli.parsing import config_of
from tidal.jobs.benchmark import submitting
from tidal.jobs.executors import ProcessPool
from tidal.stages.stage_results import StageResults

ROOT = Path(__file__).parents[3]
Tidal = Callable[..., Any]

KILLED = """
import os, signal, sys
from lm.runs.events import EventLog
from tidal.cli.commands import benchmark
if __name__ == "__main__":  # and not in a worker
    append = EventLog.append
    def append_and_die(log, event, **content):
        append(log, event, **content)
        if content.get("stage") == "train controller 0" and event == "stage":
            os.kill(os.getpid(), signal.SIGKILL)
    EventLog.append = append_and_die
    sys.exit(benchmark.run(sys.argv[2:]))
"""


def arguments(model: str, folder: Path, *others: object) -> list[str]:
    tiny = {
        "--model": model, "--training.env.max_episode_steps": 6, "--training.ppo.num_envs": 4,
        "--training.ppo.rollout_steps": 8, "--training.ppo.batch_size": 16, "--total_steps": 64,
        "--seeds": 2, "--decoders": "[min-p]", "--static_settings": 3, "--episodes": 6, "--oracle_episodes": 3,
        "--oracle_levels": "[2,2,2]", "--frozen_episodes": 4, "--text_episodes": 0, "--workers": 1, "--output": folder,
    }  # fmt: skip
    return ["benchmark", *(str(word) for pair in tiny.items() for word in pair), *map(str, others)]


def what_came_out(folder: Path) -> dict[str, Any]:
    """The results, but for what depends on when and how they were made."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {name: results[name] for name in results.keys() - {"seconds", "made_with", "command"}}


@pytest.fixture(scope="module")
def folder(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark that was killed with SIGKILL in the middle, and then went on to its end."""
    folder = tmp_path_factory.mktemp("runs") / "benchmark"
    words = arguments(model, folder)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], cwd=ROOT, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    stages = StageResults(folder / "stages")
    assert "train controller 0" in stages
    assert "evaluate controller 1" not in stages and not (folder / "results.json").exists()

    command = [sys.executable, "-m", "tidal", *words, "--resume"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    ended = [event["stage"] for event in read_events(folder / "events.jsonl", name="stage")]
    assert sorted(ended) == sorted(set(ended))  # what was done was not done again
    for wanted in ("controller", "best static", "min-p", "one-step oracle", "neutral", "random", "report.html"):
        assert wanted in result.stdout
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_killed_and_resumed_is_as_never_killed(folder: Path, model: str, tidal: Tidal, tmp_path: Path) -> None:
    code, _, err = tidal(*arguments(model, tmp_path / "whole"))
    assert code == 0, err
    assert what_came_out(tmp_path / "whole") == what_came_out(folder)


def test_one_that_is_cancelled_is_resumed_and_one_that_is_to_finish_is_reported(
    model: str, results: dict[str, Any], tmp_path: Path
) -> None:
    parser = command.make_parser()
    config = config_of(parser, parser.parse_args(arguments(model, tmp_path / "run")[1:]), BenchmarkConfig)
    reports: list[Progress] = []

    def run_until_a_stage_is_done(how: str) -> tuple[list[str], dict[str, str]]:
        stop, done = StopRequest(), []

        def on_stage(name: str, result: dict[str, Any]) -> None:
            done.append(name)
            getattr(stop, how)()

        with claimed_folder(config, tmp_path / "run", resume=(tmp_path / "run").exists(), overwrite=False) as folder:
            options: dict[str, Any] = {"workers": 1, "command": "", "on_stage": on_stage, "progress": reports.append}
            with ProcessPool(1) as pool:
                submit = submitting(pool, config, folder)
                return done, run_benchmark(config, folder, submit=submit, stop=stop, **options)

    with pytest.raises(RunCancelledError):
        run_until_a_stage_is_done("cancel")
    record = read_record(tmp_path / "run")
    assert record is not None and record.state == "cancelled"
    assert [path.stem for path in (tmp_path / "run" / "stages").iterdir()] == ["tune best static"]
    assert run_until_a_stage_is_done("finish") == (["evaluate one-step oracle"], {})
    record = read_record(tmp_path / "run")
    assert record is not None and record.state == "completed"

    total = sum(stage.cost for stage in stages_of(config, tmp_path))
    assert {(report.stage, report.total, report.unit) for report in reports} == {("Benchmark", total, "cost")}
    assert [report.done for report in reports] == sorted(report.done for report in reports)
    assert reports[-1].metrics == {"stages_done": 2, "stages_running": 0}
    publish(config, tmp_path / "run", command="")
    found = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert len(found["missing"]) == len(stages_of(config, tmp_path)) - 2
    (score,) = found["comparison"]["scores"]
    assert score == next(one for one in results["comparison"]["scores"] if one["name"] == score["name"])
    assert "Not finished" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_one_that_is_to_finish_before_it_begins_is_reported(model: str, tmp_path: Path) -> None:
    parser = command.make_parser()
    config = config_of(parser, parser.parse_args(arguments(model, tmp_path / "run")[1:]), BenchmarkConfig)
    stop = StopRequest()
    stop.finish()
    with claimed_folder(config, tmp_path / "run", resume=False, overwrite=False) as folder:
        with ProcessPool(1) as pool:
            submit = submitting(pool, config, folder)
            assert run_benchmark(config, folder, submit=submit, workers=1, command="", stop=stop) == {}
        assert publish(config, folder, command="")["comparison"]["scores"] == ()


def test_all_agents_get_the_same_episodes(folder: Path, results: dict[str, Any]) -> None:
    stages = StageResults(folder / "stages")
    names = ("controller 0", "controller 1", "best static", "min-p", "neutral", "random")
    evaluations = [stages.read(f"evaluate {name}") for name in names]
    assert len({evaluation["episodes_fingerprint"] for evaluation in evaluations}) == 1
    scores = {score["name"]: score for score in results["comparison"]["scores"]}
    assert scores["controller"]["runs"] == pytest.approx([np.mean(one["returns"]) for one in evaluations[:2]])
    assert scores["one-step oracle"]["episodes"] == 3 and scores["controller"]["episodes"] == 6
    (over_static,) = [one for one in results["comparison"]["advantages"] if one["over"] == "best static"]
    paired = np.subtract([one["returns"] for one in evaluations[:2]], evaluations[2]["returns"])
    assert over_static["difference"]["mean"] == pytest.approx(paired.mean())


def test_budgets_are_equal(results: dict[str, Any]) -> None:
    learned = [budget["env_steps"] for budget in results["budgets"] if "seed" in budget]
    tuned = {budget["name"]: budget["env_steps"] for budget in results["budgets"] if "seed" not in budget}
    assert learned == [64, 64] and tuned.keys() == {"best static", "min-p"}
    for name, steps in tuned.items():
        assert steps >= 64, f"{name} was tuned with fewer steps than a controller learned from"


def test_frozen_gates_are_compared_in_the_same_episodes(folder: Path, results: dict[str, Any]) -> None:
    stages = StageResults(folder / "stages")
    frozen = [stages.read(f"freeze controller {seed}")["returns"]["focus"] for seed in (0, 1)]
    free = [stages.read(f"evaluate controller {seed}")["returns"][:4] for seed in (0, 1)]
    (cost,) = [one for one in results["frozen_gates"] if one["gate"] == "focus"]
    assert cost["cost"]["mean"] == pytest.approx(np.subtract(free, frozen).mean())


def test_report_needs_nothing_else(folder: Path) -> None:
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|img|iframe)\b", report) == [] and "@import" not in report
    assert not re.search(r"#01020\d", report)  # every colour of the figures follows the page
    assert report.count('role="img"') == len(list((folder / "plots").glob("*.svg"))) == 5
    assert "var(--" not in (folder / "plots" / "comparison.svg").read_text(encoding="utf-8")


def test_other_configuration_is_refused_by_name(folder: Path, model: str, tidal: Tidal) -> None:
    code, _, err = tidal(*arguments(model, folder, "--resume", "--evaluation_seed", 7))
    assert code == 2 and "`evaluation_seed` was 1 and is 7" in err
    code, _, err = tidal(*arguments(model, folder))
    assert code == 2 and "already holds a run" in err


def test_partial_results_are_reported(folder: Path, model: str, tidal: Tidal, tmp_path: Path) -> None:
    part = tmp_path / "part"
    stages, done = StageResults(part / "stages"), StageResults(folder / "stages")
    for name in ("evaluate neutral", "tune best static", "evaluate best static"):
        stages.write(name, done.read(name))
    (part / "run.json").write_text((folder / "run.json").read_text())
    code, out, err = tidal(*arguments(model, part, "--report_only"))
    assert code == 0, err
    results = json.loads((part / "results.json").read_text())
    assert [score["name"] for score in results["comparison"]["scores"]].count("best static") == 1
    assert "train controller 1" in results["missing"] and results["claims"] == []
    assert "Not finished" in (part / "report.html").read_text(encoding="utf-8")


def test_stages_from_elsewhere_are_data(folder: Path, model: str, tidal: Tidal, watched: Path) -> None:
    part = watched / "part"
    shutil.copytree(folder / "stages", part / "stages")
    shutil.copy(folder / "run.json", part)
    kinds = ("evaluate neutral", "train controller 0", "freeze controller 0", "tune min-p")
    for path in (part / "stages" / f"{kind}.json" for kind in kinds):
        whole = json.loads(path.read_text(encoding="utf-8"))
        everywhere = whole
        for place in text_fields(whole):
            everywhere = planted(everywhere, place, CANARIES[0])
        plants = [everywhere, planted(whole, (next(iter(whole)),), [CANARIES[3]])]
        for plant in plants:
            path.write_text(json.dumps(plant), encoding="utf-8")
            code, _, err = tidal(*arguments(model, part, "--report_only"))
            assert code == 0 or (code == 2 and err.count("Error: ") == 1 and "Traceback" not in err), (plant, err)
        path.write_text(json.dumps(whole), encoding="utf-8")


def test_nothing_done_yet_can_be_rendered(results: dict[str, Any]) -> None:
    nothing = results | {
        "comparison": {"scores": [], "advantages": [], "gap_closed": []}, "frozen_gates": [], "text": [], "agents": {},
        "curves": [], "samples": [], "claims": [], "budgets": [], "seconds": {},
    }  # fmt: skip
    assert "not there yet" in render_report(nothing, {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": 0}, "`seeds` must be at least 1. Received 0."),
        ({"total_steps": 0}, "`total_steps` must be at least 1. Received 0."),
        ({"episodes": 0}, "`episodes` must be at least 1. Received 0."),
        ({"tuning_steps": 0}, "`tuning_steps` must be at least 1. Received 0."),
        ({"text_episodes": 20}, "`text_episodes` must be 0 or at least 64"),
        ({"model": "tidal-judge"}, "`text.judge` must not be the model under test. Received 'tidal-judge'."),
        ({"decoders": ("greedy",)}, "`decoders` must be among temperature, .* Received greedy."),
    ],
)
def test_bad_configuration(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        BenchmarkConfig(**given)


def test_model_and_reward_replace_the_recipe_s() -> None:
    config = BenchmarkConfig(model="other", reward="judge", episodes=100)
    assert (config.training.env.model, config.training.env.reward) == ("other", "judge")
    recipe = TrainConfig(total_steps=1000, warm_start=WarmStartConfig(env_steps=200))
    shorter = BenchmarkConfig(training=recipe, total_steps=100).training
    assert (shorter.total_steps, shorter.warm_start.env_steps) == (100, 20)
    assert config.oracle_episodes == config.text_episodes == 100  # no more than there are


def test_a_short_benchmark_tunes_as_much_less_as_it_trains() -> None:
    recipe = TrainConfig(total_steps=200_000)
    short = BenchmarkConfig(training=recipe, tuning_steps=400_000).shortened()
    assert (short.training.total_steps, short.tuning_steps) == (40_000, 80_000)
    assert BenchmarkConfig(training=recipe).shortened().tuning_steps is None


def test_page_is_that_of_the_committed_results() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_benchmark_page.py"))
    text = page["benchmark_page"](page["read_results"](), page["read_headroom"]())
    assert page["PAGE"].read_text(encoding="utf-8") == text, "run `python docs/make_benchmark_page.py`"


def test_page_shows_results(results: dict[str, Any]) -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_benchmark_page.py"))["benchmark_page"](
        {"benchmark-x.json": results}
    )
    for wanted in (
        "| **controller** | 2 × 6 |",
        "| min-p | 1 × 6 |",
        "| focus |",
        results["command"],
        "| best static | ",
    ):
        assert wanted in page


def test_baselines_get_the_steps_of_a_warm_start_that_ends_with_a_whole_rollout(tmp_path: Path) -> None:
    ppo = PPOConfig(num_envs=4, rollout_steps=2, batch_size=4, epochs=1, hidden_sizes=(8,))
    warm_start = WarmStartConfig(env_steps=50, rollout_steps=60, candidates=2, gradient_steps=1, batch_size=2)
    training = TrainConfig(env=EnvConfig(max_episode_steps=5), ppo=ppo, warm_start=warm_start, total_steps=100)
    learned = train(training, tmp_path / "run").metrics["step"]
    assert learned == 240
    assert BenchmarkConfig(training=training).baseline_steps >= learned


def test_texts_are_compared_by_the_measures_that_stages_kept(tmp_path: Path) -> None:
    """From values beside a human 0.5, the same without each group of texts: distances are exact, intervals points."""
    stages = StageResults(tmp_path / "stages")
    for name, value in {"best static": 0.7, "controller 0": 0.6, "controller 1": 0.6}.items():
        interval = Interval(value, value, value)
        distance = Interval(value - 0.5, value - 0.5, value - 0.5)
        measure = Measure(interval, 0.5, distance, left_out=(value - 0.5,) * 32)
        measures = TextMeasures(64, **dict.fromkeys(MEASURES, measure))
        stages.write(f"measure {name}", {"measures": asdict(measures), "seconds": 1.0})
    config = BenchmarkConfig(seeds=2, decoders=())
    texts = collect_results(config, tmp_path)["text"]
    assert [text["measure"] for text in texts] == list(MEASURES)
    for text in texts:
        assert (text["human"], text["learned"], text["baseline"]) == pytest.approx((0.5, 0.6, 0.7))
        assert text["difference"]["mean"] == pytest.approx(-0.1) and text["is_nearer"]


@pytest.mark.parametrize(
    ("stage", "change", "says"),
    [
        ("train controller 0", lambda content: content.pop("env_steps"), "`env_steps` must be there"),
        ("train controller 0", lambda content: content["curve"][0].pop("step"), r"`curve\[0\].step` must be there"),
        ("freeze controller 0", lambda content: content["returns"].pop("focus"), "`returns` must hold creativity"),
        ("freeze controller 0", lambda content: content["returns"]["focus"].pop(), "`returns.focus` must have 4"),
        ("evaluate min-p", lambda content: content["gates"].pop("focus"), "`gates` must hold creativity, focus"),
        ("evaluate controller 1", lambda content: content["term_sums"].popitem(), "different terms of the reward"),
        ("evaluate min-p", lambda content: content["returns"].pop(), "`returns` must have 6 entries"),
    ],
)
def test_a_damaged_stage_is_named(
    folder: Path, model: str, tidal: Tidal, tmp_path: Path, stage: str, change: Callable[[Any], Any], says: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "stages" / f"{stage}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    code, _, err = tidal(*arguments(model, copy, "--report_only"))
    assert code == 2 and stage.split()[1] in err and re.search(says, err), err


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("judge", "tidal-judge", "`text.judge` must be a model with the vocabulary of"),
        ("judge", "nowhere", "nowhere"),
        ("human", "nowhere.txt", "nowhere.txt"),
    ],
)
def test_what_texts_are_measured_with_is_checked_first(
    model: str, tidal: Tidal, tmp_path: Path, option: str, value: str, says: str
) -> None:
    words = arguments(model, tmp_path / "run", f"--text.{option}", value)
    words[words.index("--text_episodes") + 1] = words[words.index("--episodes") + 1] = "64"
    code, _, err = tidal(*words)
    assert code == 2 and says in err and not (tmp_path / "run").exists(), err
