from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agents.evaluation.intervals import Interval
from tidal.cli.commands import demo as command
from tidal.demo.config import DemoConfig
from tidal.demo.run import DemoResult

Tidal = Callable[..., Any]


@pytest.fixture(scope="module")
def demo_folder(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results and report of a quick demonstration."""
    from tidal.cli.main import main

    folder = tmp_path_factory.mktemp("runs") / "demo"
    assert main(["demo", "--quick", "--model", model, "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def report(demo_folder: Path) -> str:
    return (demo_folder / "report.html").read_text(encoding="utf-8")


def test_results(demo_folder: Path) -> None:
    results = json.loads((demo_folder / "results.json").read_text(encoding="utf-8"))
    evaluations = results["evaluations"]
    assert list(evaluations) == ["neutral", "random", "best static", "controller", "one-step oracle"]
    assert len({evaluations[name]["episodes_fingerprint"] for name in list(evaluations)[:4]}) == 1
    assert [len(one["returns"]) for one in evaluations.values()] == [16, 16, 16, 16, 4]
    differences = np.subtract(evaluations["controller"]["returns"], evaluations["best static"]["returns"])
    assert results["advantage"]["mean"] == pytest.approx(differences.mean())
    assert results["is_better"] == bool(differences.mean() > 0)
    # The best static setting was tuned with no fewer steps than the controller learned from, on the training prompts.
    assert (
        sum(trial["round"] == 0 for trial in results["tuning"]["trials"]) == 8
        and results["tuning"]["env_steps"] >= results["training"]["total_steps"]
    )
    assert results["training"]["env"]["prompts"] == "train"
    assert [round(usage["mean"], 6) for usage in evaluations["best static"]["gates"].values()] == pytest.approx(
        list(results["tuning"]["parameters"].values()), abs=1e-5
    )
    assert {"torch", "gymnasium", "python"} <= results["made_with"]["versions"].keys()


def test_report_needs_nothing_else(report: str) -> None:
    assert re.findall(r"<(?:script|link|img|iframe)\b", report) == []
    assert re.findall(r"url\((?!#)", report) == [] and "@import" not in report
    assert [link for link in re.findall(r"(?:src|href)=\"([^\"]*)\"", report) if not link.startswith("#")] == []


def test_report_shows_what_it_should(report: str, model: str) -> None:
    assert report.count("<svg") == 3 and report.count('role="img"') == 3
    assert not re.search(r"#01020\d", report)  # every colour of the figures follows the page
    assert report.count('<article class="story">') == 3
    for agent in ("neutral", "random", "best static", "controller", "one-step oracle"):
        assert f"<td>{agent}</td>" in report
    assert f"tidal demo --quick --model {model}" in report
    for fact in ("Seed", "Machine", "Versions", "8 settings on the training prompts", "95% interval"):
        assert fact in report


def test_report_is_well_formed(report: str) -> None:
    class Checker(HTMLParser):
        open: list[str] = []

        def handle_starttag(self, tag: str, attributes: object) -> None:
            if tag not in ("meta", "input", "br"):
                self.open.append(tag)

        def handle_startendtag(self, tag: str, attributes: object) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    checker = Checker()
    checker.feed(report)
    checker.close()
    assert checker.open == []


def test_tokens_tell_what_they_were_drawn_under(report: str) -> None:
    titles = re.findall(r'class="token" style="--c:(\S+?);--f:(\S+?);--s:(\S+?)" title="([^"]*)"', report)
    assert len(titles) > 30
    for creativity, focus, stability, title in titles:
        assert title.startswith(f"creativity {creativity}, focus {focus}, stability {stability}\ntemperature ")
        temperature = float(re.search(r"temperature ([\d.]+)", title).group(1))
        assert temperature == pytest.approx(0.5 + float(creativity), abs=0.011)
        terms = re.search(r"reward (\S+): perplexity (\S+), diversity (\S+), repetition (\S+), coherence (\S+)$", title)
        reward, *parts = map(float, terms.groups())
        assert reward == pytest.approx(np.dot(parts, (0.4, 0.3, 0.2, 0.1)), abs=0.006)


def test_output_is_not_overwritten(tidal: Tidal, demo_folder: Path, model: str) -> None:
    code, _, err = tidal("demo", "--quick", "--model", model, "--output", demo_folder)
    assert code == 2 and "already holds a run" in err


def test_failure_is_loud(tidal: Tidal, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained controller, which holds its gates near the middle, loses against a tuned setting of this model."""
    short = DemoConfig().shortened()
    code, out, err = tidal(
        "demo", "--model", model, "--output", tmp_path / "demo", "--steps", short.steps, "--settings", 16,
        "--episodes", 8, "--oracle_episodes", 0,
    )  # fmt: skip
    assert code == 1
    assert "does not beat the best static setting" in out
    assert err.splitlines()[-1] == "The demonstration failed: the controller does not beat the best static setting."
    assert "<h1>The controller did not beat" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")


def _result(controller: list[float], static: list[float], oracle: list[float] | None) -> DemoResult:
    def evaluation(agent: str, returns: list[float]) -> SimpleNamespace:
        mean = Interval(float(np.mean(returns)), 0.0, 0.0)
        return SimpleNamespace(agent=agent, returns=tuple(returns), mean_return=mean, episodes_fingerprint="x", seed=0)

    evaluations = {"controller": evaluation("controller", controller), "best static": evaluation("best static", static)}
    return DemoResult(
        config=DemoConfig(), training=None, tuning=None, curve=(), evaluations=evaluations,
        oracle=evaluation("oracle", oracle) if oracle else None, seconds={},
    )  # fmt: skip


def test_gap_is_that_of_the_oracle_s_episodes() -> None:
    result = _result([3.0, 5.0, 100.0], [1.0, 3.0, 0.0], oracle=[4.0, 8.0])
    assert result.gap_closed == pytest.approx((4 - 2) / (6 - 2))  # the third episode is excluded
    assert "closes 50% of the gap" in command.verdict(result)


def test_nothing_is_said_of_a_gap_that_widened() -> None:
    result = _result([0.0, 9.0], [1.0, 1.0], oracle=[4.0])
    assert result.is_better and result.gap_closed == pytest.approx(-1 / 3)
    assert "gap" not in command.verdict(result)


def test_without_an_oracle_there_is_no_gap() -> None:
    assert _result([3.0], [1.0], oracle=None).gap_closed is None


def test_verdict() -> None:
    assert command.verdict(_result([3.0, 3.0], [1.0, 1.0], None)).startswith(
        "The controller beats the best static setting: +2.00 an episode, 95% interval +2.00 to +2.00."
    )
    equal = _result([1.0], [1.0], None)
    assert not equal.is_better and "does not beat" in command.verdict(equal)
    assert "quick" not in command.verdict(equal)
    quick = replace(equal, config=DemoConfig().shortened())
    assert "A quick run is too short for conclusions." in command.verdict(quick)
