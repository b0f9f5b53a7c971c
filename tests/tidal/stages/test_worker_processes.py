from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import psutil
import pytest

from agents.evaluation.intervals import Interval
from lm.errors import CheckpointError
from lm.runs.stop import RunCancelledError, StopRequest
from tidal.stages.stage_results import StageResults
from tidal.stages.worker_processes import Stage, StagesStatus, run_stages


@pytest.fixture
def results(tmp_path: Path) -> StageResults:
    return StageResults(tmp_path / "stages")


def test_a_failure_stops_what_needs_it_and_nothing_else(results: StageResults) -> None:
    results.write("old", {"value": 0, "seconds": 1.0})
    stages = [
        Stage("old", partial(int, "is not begun again")),
        Stage("bad", partial(int, "no number")),
        Stage("needs bad", partial(dict, value=1), ("bad",)),
        Stage("needs that", partial(dict, value=2), ("needs bad",)),
        Stage("good", partial(dict, value=3), ("old",)),
        Stage("kills its process", partial(os._exit, 3)),
        Stage("last", partial(dict, value=4)),
    ]
    seen: list[StagesStatus] = []
    failures = run_stages(stages, results, workers=1, look=seen.append)
    assert failures.keys() == {"bad", "needs bad", "needs that", "kills its process"}
    assert "ValueError: invalid literal for int() with base 10: 'no number'" in failures["bad"]
    assert failures["needs that"] == "It needs needs bad."
    assert failures["kills its process"] == "Its process died."
    assert results.read("good")["value"] == 3 and results.read("last")["value"] == 4
    assert results.read("old") == {"value": 0, "seconds": 1.0}
    assert {name for status in seen for name in status.done} == {"good", "last"}


def asked_when_running(stop: StopRequest, how: str, at_work: Path) -> Callable[[StagesStatus], None]:
    """Requests a stop as soon as a stage is at work, which then leaves a file."""
    return lambda status: getattr(stop, how)() if at_work.exists() else None


def work(at_work: Path, seconds: float) -> dict[str, int]:
    """A stage's work."""
    at_work.touch()
    time.sleep(seconds)
    return {"value": 1}


def test_stages_that_are_to_finish_complete_what_is_running(results: StageResults, tmp_path: Path) -> None:
    at_work = tmp_path / "at work"
    stages = [Stage(name, partial(work, at_work, 2.5)) for name in ("first", "second", "third")]
    stop = StopRequest()
    look = asked_when_running(stop, "finish", at_work)
    assert run_stages(stages, results, workers=1, look=look, stop=stop) == {}
    assert "first" in results and "second" not in results and "third" not in results
    stop.finish()
    assert run_stages(stages, results, workers=1, look=look, stop=stop) == {}  # starts none
    assert "second" not in results
    assert run_stages(stages, results, workers=1, look=look) == {}
    assert all(stage.name in results for stage in stages)


def test_stages_that_are_to_cancel_end_at_once(results: StageResults, tmp_path: Path) -> None:
    at_work, stop = tmp_path / "at work", StopRequest()
    stages = [Stage(name, partial(work, at_work, 600)) for name in ("first", "second")]
    with pytest.raises(RunCancelledError):
        run_stages(stages, results, workers=2, look=asked_when_running(stop, "cancel", at_work), stop=stop)
    assert not any(stage.name in results for stage in stages)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_only_whole_results_count(results: StageResults) -> None:
    results.write("whole", {"value": 1, "seconds": 1.0})
    (results.folder / "half.json.partial").write_text('{"val')
    for name, content in (("empty", ""), ("cut", '{"val'), ("other", "{}"), ("list", "[]")):
        (results.folder / f"{name}.json").write_text(content)
        assert name not in results
        with pytest.raises(CheckpointError, match=rf"{name}\.json (is damaged|cannot be read)"):
            results.read(name)
    assert "whole" in results and "half" not in results
    assert run_stages([Stage("empty", partial(dict, value=2))], results, workers=1, look=print) == {}
    assert results.read("empty")["value"] == 2  # it was run again


def test_results_become_the_records_that_they_were_made_from(results: StageResults) -> None:
    found = Interval(1.0, 0.5, 1.5)
    results.write("whole", asdict(found) | {"seconds": 2.0})
    results.write("part", {"return": asdict(found), "seconds": 2.0})
    assert results.record("whole", Interval) == results.record("part", Interval, "return") == found
    with pytest.raises(CheckpointError, match=r"whole\.json is damaged: `content` must be a mapping"):
        results.record("whole", Interval, "return")
