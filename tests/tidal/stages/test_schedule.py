from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from agents.evaluation.intervals import Interval
from lm.checks import require
from lm.errors import CheckpointError
from lm.runs import RunCancelledError, StopRequest
from tidal.stages.schedule import Stage, StagesStatus, run_stages
from tidal.stages.stage_results import StageResults


@pytest.fixture
def results(tmp_path: Path) -> StageResults:
    return StageResults(tmp_path / "stages")


Submit = Callable[[Stage], "Future[None]"]


@pytest.fixture
def submit(results: StageResults) -> Iterator[Submit]:
    with ThreadPoolExecutor(2) as pool:
        yield lambda stage: pool.submit(stage.run, results)


def test_a_failure_stops_what_needs_it_and_nothing_else(results: StageResults, submit: Submit) -> None:
    results.write("old", {"value": 0, "seconds": 1.0})
    stages = [
        Stage("old", partial(int, "is not begun again")),
        Stage("bad", partial(int, "no number")),
        Stage("needs bad", partial(dict, value=1), ("bad",)),
        Stage("needs that", partial(dict, value=2), ("needs bad",)),
        Stage("good", partial(dict, value=3), ("old",)),
        Stage("is refused", partial(require, "number", "must be 1", 2, False)),
        Stage("last", partial(dict, value=4)),
    ]
    seen: list[StagesStatus] = []
    failures = run_stages(stages, results, submit=submit, workers=1, look=seen.append)
    assert failures.keys() == {"bad", "needs bad", "needs that", "is refused"}
    assert "ValueError: invalid literal for int() with base 10: 'no number'" in failures["bad"]
    assert failures["needs that"] == "It needs needs bad."
    assert failures["is refused"] == "`number` must be 1. Received 2."
    assert results.read("good")["value"] == 3 and results.read("last")["value"] == 4
    assert results.read("old") == {"value": 0, "seconds": 1.0}
    assert {name for status in seen for name in status.done} == {"good", "last"}


def test_only_whole_results_count(results: StageResults, submit: Submit) -> None:
    results.write("whole", {"value": 1, "seconds": 1.0})
    (results.folder / "half.json.partial").write_text('{"val')
    for name, content in (("empty", ""), ("cut", '{"val'), ("other", "{}"), ("list", "[]")):
        (results.folder / f"{name}.json").write_text(content)
        assert name not in results
        with pytest.raises(CheckpointError, match=rf"{name}\.json (is damaged|cannot be read)"):
            results.read(name)
    assert "whole" in results and "half" not in results
    assert run_stages([Stage("empty", partial(dict, value=2))], results, submit=submit, workers=1, look=print) == {}
    assert results.read("empty")["value"] == 2  # it was run again


def test_results_become_the_records_that_they_were_made_from(results: StageResults) -> None:
    found = Interval(1.0, 0.5, 1.5)
    results.write("whole", asdict(found) | {"seconds": 2.0})
    results.write("part", {"return": asdict(found), "seconds": 2.0})
    assert results.record("whole", Interval) == results.record("part", Interval, "return") == found
    with pytest.raises(CheckpointError, match=r"whole\.json is damaged: `content` must be a mapping"):
        results.record("whole", Interval, "return")


def test_a_finish_lets_running_stages_end_and_a_cancel_raises(results: StageResults, submit: Submit) -> None:
    stages = [Stage(name, partial(dict, value=1)) for name in ("first", "second", "third")]
    stop = StopRequest()

    def look(status: StagesStatus) -> None:
        stop.finish()

    assert run_stages(stages, results, submit=submit, workers=1, look=look, stop=stop) == {}
    assert "first" in results and "second" not in results
    stop.cancel()
    with pytest.raises(RunCancelledError):
        run_stages(stages, results, submit=submit, workers=1, look=look, stop=stop)
    assert "second" not in results
