"""Event logs, progress and stop requests."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from lm.runs.events import EventLog, read_events
from lm.runs.progress import Progress
from lm.runs.stop import RunCancelledError, StopRequest


def test_events_are_read_as_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append("started", kind="train")
    log.progress(Progress("Training", 25, 100, "env steps", {"reward": 0.5}))
    started, progress = read_events(log.path)
    assert started["event"] == "started" and started["kind"] == "train"
    assert datetime.fromisoformat(progress.pop("time")).tzinfo is not None
    assert progress == {"event": "progress", "stage": "Training", "done": 25, "total": 100, "unit": "env steps",
                        "metrics": {"reward": 0.5}, "note": ""}  # fmt: skip
    assert [event["event"] for event in read_events(log.path, name="progress")] == ["progress"]


@pytest.mark.parametrize("left", [b'{"event": "prog', b'{"event": "progress", "stage": "\xc3', b"{}", b"[1]", b"\n"])
def test_an_incomplete_line_is_skipped_and_not_continued(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(path).append("first")
    with path.open("ab") as file:
        file.write(left)
    assert [event["event"] for event in read_events(path)] == ["first"]
    EventLog(path).append("second")
    assert [event["event"] for event in read_events(path)] == ["first", "second"]
    assert json.loads(path.read_bytes().splitlines()[-1])["event"] == "second"


def test_a_missing_log_holds_nothing(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "events.jsonl")) == []


def test_fraction() -> None:
    assert Progress("a", 3, 12).fraction == 0.25
    assert Progress("a", 13, 12).fraction == 1.0
    assert Progress("a", 3).fraction is None


def test_finish_and_cancel() -> None:
    stop = StopRequest()
    assert not stop.is_requested
    stop.raise_if_cancelled()
    stop.finish()
    assert stop.is_requested and not stop.is_cancelled
    stop.cancel()
    assert stop.is_cancelled
    with pytest.raises(RunCancelledError, match="The run was cancelled"):
        stop.raise_if_cancelled()


def test_time_that_is_up_means_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stop = StopRequest(max_minutes=0.5)
    now += 29.9
    assert not stop.is_requested
    now += 0.2
    assert stop.is_requested and not stop.is_cancelled
