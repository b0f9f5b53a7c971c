"""The record of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from lm.errors import CheckpointError, OutputExistsError
from lm.runs import heartbeat, run_folder
from lm.runs.record import read_record, with_defaults
from lm.runs.stop import RunCancelledError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = (2, 3)


@dataclass(frozen=True)
class Config:
    steps: int = 3
    inner: Inner = field(default_factory=Inner)


def run(folder: Path, kind: str = "test", *, resume: bool = False, error: BaseException | None = None) -> None:
    with run_folder.claimed(folder, kind, Config(), resume=resume, overwrite=False):
        if error is not None:
            raise error


def test_a_record_says_what_runs_and_how_it_ended(tmp_path: Path) -> None:
    with run_folder.claimed(tmp_path, "test", Config(), resume=False, overwrite=False):
        record = read_record(tmp_path)
        assert record is not None and record.state == "running" and record.finished is None
        assert heartbeat.is_alive(tmp_path) or heartbeat.age(tmp_path) is None  # its first beat may be to come
    record = read_record(tmp_path)
    assert record is not None
    assert (record.kind, record.state, record.exit_reason) == ("test", "completed", None)
    assert record.config == {"steps": 3, "inner": {"rate": 0.1, "sizes": [2, 3]}}
    assert record.versions["python"].startswith("3.") and record.command
    assert record.finished is not None
    assert datetime.fromisoformat(record.created) <= datetime.fromisoformat(record.finished)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ValueError("`steps` is odd"), "failed", "`steps` is odd"),
        (KeyboardInterrupt(), "cancelled", "The run was cancelled."),
        (RunCancelledError("stopped"), "cancelled", "The run was cancelled."),
        (MemoryError(), "failed", "MemoryError"),
    ],
)
def test_a_run_that_ends_early_says_why(tmp_path: Path, error: BaseException, state: str, reason: str) -> None:
    with pytest.raises(type(error)):
        run(tmp_path, error=error)
    record = read_record(tmp_path)
    assert record is not None and (record.state, record.exit_reason) == (state, reason)
    run(tmp_path, resume=True)
    again = read_record(tmp_path)
    assert again is not None and (again.state, again.exit_reason, again.created) == ("completed", None, record.created)


def test_a_full_disk_does_not_hide_the_error_that_ended_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(ValueError, match="`steps` is odd"),
        run_folder.claimed(tmp_path, "test", Config(), resume=False, overwrite=False),
    ):
        monkeypatch.setattr("lm.runs.record.write_json", full)
        raise ValueError("`steps` is odd")


def test_only_a_run_of_the_same_kind_is_resumed(tmp_path: Path) -> None:
    run(tmp_path, "train")
    with pytest.raises(OutputExistsError, match="no run of this kind"):
        run(tmp_path, "tune", resume=True)


def test_runs_from_before_a_field_was_added_can_be_resumed(tmp_path: Path) -> None:
    """A new field has its default in an old run's configuration."""
    assert with_defaults({"inner": {"rate": 0.5}}, Config(steps=9)) == {
        "steps": 3,
        "inner": {"rate": 0.5, "sizes": [2, 3]},
    }

    @dataclass(frozen=True)
    class Older:
        steps: int = 3

    with run_folder.claimed(tmp_path, "test", Older(), resume=False, overwrite=False):
        pass
    run(tmp_path, resume=True)
    with (
        pytest.raises(CheckpointError, match=r"`inner.rate` was 0.1 and is 0.2"),
        run_folder.claimed(tmp_path, "test", Config(inner=Inner(0.2)), resume=True, overwrite=False),
    ):
        pass
