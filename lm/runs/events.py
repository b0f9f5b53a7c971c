"""The event log of a run: progress and metrics, one JSON object a line, appended while the run goes on.

Every event has ``time`` (UTC, ISO 8601) and ``event`` (its name); the other keys belong to the event. A progress event
holds the fields of :class:`lm.runs.progress.Progress`. A process that is killed can leave its last line incomplete; the
reader skips it, and the next writer begins on a new line.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lm.runs.progress import Progress, Report

SECONDS_BETWEEN_EVENTS = 1.0
"""Least interval between two progress events of a stage [s]."""

EVENTS_FILE = "events.jsonl"

Event = dict[str, Any]


class EventLog:
    """Appends events to a file.

    Args:
        path: the file; made when the first event is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_checked = False

    def append(self, event: str, **content: Any) -> None:
        """Write an event, stamped with the time."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event} | content)
        with self.path.open("ab") as file:
            if not self._is_checked and file.tell() > 0 and not _ends_with_newline(self.path):
                file.write(b"\n")
            self._is_checked = True
            file.write(line.encode() + b"\n")

    def progress(self, progress: Progress) -> None:
        """Write a progress event."""
        self.append("progress", **asdict(progress) | {"metrics": dict(progress.metrics)})


def logged(report: Report, folder: Path) -> Report:
    """A report that also writes progress events to the log of the run in `folder`.

    Written are the first and the last report of each stage, and between them one a second.
    """
    log = EventLog(folder / EVENTS_FILE)
    stage: str | None = None
    next_event = 0.0

    def write_and_report(progress: Progress) -> None:
        nonlocal stage, next_event
        is_end = progress.total is not None and progress.done >= progress.total
        if progress.stage != stage or is_end or time.monotonic() >= next_event:
            stage, next_event = progress.stage, time.monotonic() + SECONDS_BETWEEN_EVENTS
            log.progress(progress)
        report(progress)

    return write_and_report


def read_events(path: Path, *, name: str | None = None) -> Iterator[Event]:
    """Events of a log in order, while it may still be written; lines that are no whole event are skipped.

    Args:
        path: the file; a missing one holds no events.
        name: only events of this name.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event and name in (None, event["event"]):
                yield event


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
