"""Run folders: claimed once, written by one run at a time, never overwritten unless that was requested.

A run folder holds ``run.json`` (:class:`lm.runs.record.RunRecord`), ``events.jsonl`` (:mod:`lm.runs.events`), and what
its kind of job writes; while the run goes on, also ``heartbeat`` (:mod:`lm.runs.heartbeat`), ``run.lock``, and, once it
is asked to end, ``stop`` (:mod:`lm.runs.stop`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lm.errors import CheckpointError, InvalidValueError, OutputExistsError
from lm.paths import user_path
from lm.runs import heartbeat, run_lock
from lm.runs.record import RUN_FILE, RunRecord, plain, read_record, with_defaults
from lm.runs.stop import STOP_FILE, RunCancelledError
from lm.runs.whole_file import PARTIAL, partial_name


def require_claimable(
    folder: str | Path,
    kind: str,
    config: Any,
    *,
    resume: bool,
    overwrite: bool,
    adjustable: frozenset[str] = frozenset(),
) -> Path:
    """The path of a run's folder that :func:`claim` would take as things are; raises what it raises, writes nothing."""
    folder = _place(folder, resume, overwrite)
    if folder.exists():
        _check(folder, kind, config, resume, overwrite, adjustable)
    return folder


@contextmanager
def claimed(
    folder: str | Path,
    kind: str,
    config: Any,
    *,
    resume: bool | None,
    overwrite: bool,
    adjustable: frozenset[str] = frozenset(),
) -> Iterator[Path]:
    """Claim a run's folder as :func:`claim` does, and hold it until the block ends.

    The run's record then contains its state: completed, cancelled (Ctrl-C, :class:`RunCancelledError`) or failed.
    """
    path = claim(folder, kind, config, resume=resume, overwrite=overwrite, adjustable=adjustable)
    record = read_record(path)
    assert record is not None
    try:
        with heartbeat.beating(path):
            yield path
        record.ended("completed").write(path)
    except (KeyboardInterrupt, RunCancelledError):
        with suppress(OSError):  # what ended the run is the error to show
            record.ended("cancelled", "The run was cancelled.").write(path)
        raise
    except BaseException as error:
        with suppress(OSError):
            record.ended("failed", str(error) or type(error).__name__).write(path)
        raise
    finally:
        with suppress(OSError):
            (path / STOP_FILE).unlink(missing_ok=True)
        run_lock.release(path)


def claim(
    folder: str | Path,
    kind: str,
    config: Any,
    *,
    resume: bool | None,
    overwrite: bool,
    adjustable: frozenset[str] = frozenset(),
) -> Path:
    """Make a run's folder, hold it for this process, and write the run's record.

    Args:
        folder: folder of the run.
        kind: kind of job; only a run of this kind is resumed or overwritten.
        config: its configuration, a dataclass.
        resume: whether to keep the folder's content; None: a run of this kind cannot be resumed.
        overwrite: whether to remove the run in the folder.
        adjustable: dotted names of fields that may differ from the run that is resumed.

    Raises:
        InvalidValueError: both `resume` and `overwrite`, or `folder` is no folder that can be made or written to.
        OutputExistsError: the folder is not empty, and neither `resume` nor `overwrite` is True, or its content is not
            a run of this kind.
        CheckpointError: `resume` is True, but there is no run, or it has another configuration; names the differences.
        RunInUseError: another process writes to the folder's run.
    """
    folder = _place(folder, resume, overwrite)
    if not folder.exists():
        _make(folder)
    if not (folder / run_lock.LOCK_FILE).exists():
        # Before a lock is put into a folder that holds no run.
        _check(folder, kind, config, resume, overwrite, adjustable)
    run_lock.acquire(folder)
    try:
        _check(folder, kind, config, resume, overwrite, adjustable)  # the run may have ended or begun meanwhile
        resumed = read_record(folder) if resume else None
        # The record goes last: without it, a kill would leave what is no run any more.
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == RUN_FILE) if overwrite else ():
            if entry.name != run_lock.LOCK_FILE:
                _remove(entry)
        for entry in list(folder.rglob(f"*{PARTIAL}")):
            _remove(entry)  # what a killed run was writing
        RunRecord.begin(kind, config, resumed=resumed).write(folder)
    except BaseException:
        run_lock.release(folder)
        raise
    return folder


def _place(folder: str | Path, resume: bool | None, overwrite: bool) -> Path:
    """The path of a run's folder, which is there or can be made."""
    if resume and overwrite:
        raise InvalidValueError("overwrite", "must not be used together with `resume`", overwrite)
    folder = user_path(folder)
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:  # the name is too long, for example
        raise InvalidValueError("output", "must name a folder", f"{folder} ({error.strerror})") from error
    if not there.is_dir():
        raise InvalidValueError("output", "must name a folder", f"{folder}, but {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidValueError("output", "must name a folder that can be written to", folder)
    if resume and there != folder:
        raise _nothing_to_resume(folder)
    return folder


def _make(folder: Path) -> None:
    """Make a folder that holds a lock file from the first: a folder without one was not made for a run."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = partial_name(folder)
    try:
        new.mkdir()
        (new / run_lock.LOCK_FILE).touch()
        new.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process has made it
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _check(
    folder: Path, kind: str, config: Any, resume: bool | None, overwrite: bool, adjustable: frozenset[str]
) -> None:
    """Raise what :func:`claim` raises for the content of a folder."""
    names = {entry.name for entry in folder.iterdir()}
    # A run that was killed at its very first writes has left those alone.
    is_new = all(name == run_lock.LOCK_FILE or name.startswith(RUN_FILE + ".") for name in names)
    if is_new:
        if resume and not names:
            raise _nothing_to_resume(folder)
        return
    record = read_record(folder)
    if record is None or record.kind != kind:
        raise OutputExistsError(
            f"The output folder {folder} holds something that is no run of this kind and is left as it is. "
            "Choose another."
        )
    if resume:
        stored = with_defaults(record.config, config)
        differing = {name: text for name, text in _differences(stored, plain(config)) if name not in adjustable}
        if differing:
            listed = "; ".join(differing[name] for name in sorted(differing))
            raise CheckpointError(f"The run in {folder} cannot be resumed with another configuration: {listed}.")
    elif not overwrite:
        ways = "Choose another" if resume is None else "Choose another, continue it with `--resume`,"
        raise OutputExistsError(
            f"The output folder {folder} already holds a run. {ways} or replace it with `--overwrite`."
        )


def _nothing_to_resume(folder: Path) -> CheckpointError:
    return CheckpointError(f"There is no run in {folder} to resume. Leave out `--resume` to start one.")


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=entry.name.endswith(PARTIAL))
    else:
        entry.unlink(missing_ok=True)


def _differences(theirs: Any, ours: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = theirs.keys() | ours.keys()
        return [
            difference
            for key in keys
            for difference in _differences(theirs.get(key), ours.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if theirs == ours else [(name, f"`{name}` was {theirs} and is {ours}")]
