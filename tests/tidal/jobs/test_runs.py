"""`tidal runs`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from lm.runs.events import EVENTS_FILE, EventLog
from lm.runs.progress import Progress
from lm.runs.record import RunRecord
from lm.runs.run_folder import claimed


@dataclass(frozen=True)
class Config:
    steps: int = 3


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A completed, a failed and a killed run."""
    with claimed(tmp_path / "good", "train", Config(), resume=False, overwrite=False) as folder:
        EventLog(folder / EVENTS_FILE).progress(Progress("Training", 2, 3, "env steps", {"reward": 0.5}))
    with pytest.raises(ValueError), claimed(tmp_path / "a" / "bad", "tune", Config(), resume=False, overwrite=False):
        raise ValueError("no luck")
    (tmp_path / "a" / "killed").mkdir()
    RunRecord.begin("pretrain", Config()).write(tmp_path / "a" / "killed")
    (tmp_path / "model").mkdir()
    return tmp_path


def test_list(tidal, runs: Path) -> None:
    code, out, _ = tidal("runs", "list", runs, "--json")
    assert code == 0
    found = {Path(run["folder"]).name: (run["kind"], run["state"], run["exit_reason"]) for run in json.loads(out)}
    assert found == {
        "bad": ("tune", "failed", "no luck"),
        "killed": ("pretrain", "died", None),
        "good": ("train", "completed", None),
    }
    code, out, _ = tidal("runs", "list", runs)
    assert code == 0 and all(name in out for name in ("good", "bad", "killed", "completed"))


def test_a_run_that_goes_on_is_running(tidal, tmp_path: Path) -> None:
    with claimed(tmp_path, "train", Config(), resume=False, overwrite=False):
        assert json.loads(tidal("runs", "show", tmp_path, "--json").out)["state"] == "running"


def test_show(tidal, runs: Path) -> None:
    code, out, _ = tidal("runs", "show", runs / "good")
    assert code == 0 and "Training: 2 of 3 env steps" in out and "reward" in out and '"steps": 3' in out
    shown = json.loads(tidal("runs", "show", runs / "a" / "bad", "--json").out)
    assert shown["exit_reason"] == "no luck" and shown["progress"] is None
    code, out, err = tidal("runs", "show", runs / "model")
    assert (code, out) == (2, "") and "model holds no run" in err


def test_clean_removes_what_did_not_complete_and_asks_first(tidal, runs: Path) -> None:
    code, out, err = tidal("runs", "clean", runs)
    assert code == 0 and "Would remove 2 runs" in err and (runs / "a" / "bad").exists() and "good" not in out
    code, _, err = tidal("runs", "clean", runs, "--yes")
    assert code == 0 and "Removed 2 runs" in err
    assert (runs / "good").exists() and not any((runs / "a").iterdir()) and (runs / "model").exists()


def test_a_folder_that_is_missing(tidal, tmp_path: Path) -> None:
    code, _, err = tidal("runs", "list", tmp_path / "nowhere")
    assert code == 2 and "There is no folder" in err and err.count("\n") == 1
