"""Runs that are ended early, as users end them: Ctrl-C, SIGTERM, `tidal runs stop`, `--max_minutes`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability.final_result import final_result
from lm.runs import read_record
from tests.tidal.jobs.test_kills import PRETRAIN, TRAIN

ROOT = Path(__file__).parents[3]
LONG_TRAIN = (*TRAIN[: TRAIN.index("--total_steps")], "--total_steps", "100000", "--checkpoint_every", "50000")


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tidal", *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)


def state_of(folder: Path) -> str:
    record = read_record(folder)
    assert record is not None
    return record.state


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_saves_a_checkpoint_and_the_resumed_run_ends_as_the_uninterrupted_one(
    tidal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    command = PRETRAIN if number == signal.SIGTERM else TRAIN
    process = start(*command, "--output", "stopped")
    wait_for(Path("stopped", "events.jsonl"))
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    if process.returncode != 0:  # it had not ended before the signal came
        assert process.returncode == code and "Traceback" not in errors, errors
        assert "Continue from the last checkpoint with: tidal" in errors
        assert state_of(Path("stopped")) == "cancelled"
        assert any(Path("stopped", "checkpoints").iterdir())
    assert tidal(*command, "--output", "stopped", "--resume").code == 0
    assert tidal(*command, "--output", "whole").code == 0
    assert final_result(Path("stopped")) == final_result(Path("whole"))


def test_a_run_is_stopped_from_another_process(tidal: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(*LONG_TRAIN, "--output", run)
    wait_for(run / "events.jsonl")
    asked = tidal("runs", "stop", run, "--finish")
    assert asked.code == 0 and "The run is asked to finish." in asked.err
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert state_of(run) == "completed" and (run / "controller").is_dir()
    assert json.loads(tidal("runs", "show", run, "--json").out)["progress"]["done"] < 100_000
    late = tidal("runs", "stop", run)
    assert late.code == 2 and f"The run in {run} is not running: it is completed." in late.err


def test_a_second_signal_ends_a_run_at_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(*LONG_TRAIN, "--output", run)
    wait_for(run / "events.jsonl")
    process.send_signal(signal.SIGSTOP)  # both come before the step ends
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (130, 143) and "Traceback" not in errors, errors
    assert state_of(run) == "cancelled"


def test_a_run_ends_as_completed_when_its_time_is_over(tidal: Any, tmp_path: Path) -> None:
    result = tidal(*LONG_TRAIN, "--output", tmp_path / "run", "--max_minutes", "0.0001")
    assert result.code == 0 and state_of(tmp_path / "run") == "completed"
    for minutes in ("0", "-1", "1e300"):
        refused = tidal(*TRAIN, "--output", tmp_path / "none", "--max_minutes", minutes)
        assert refused.code == 2 and "`max_minutes` must be" in refused.err
    assert not (tmp_path / "none").exists()
