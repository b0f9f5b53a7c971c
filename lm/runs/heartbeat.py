"""The heartbeat of a run: a small file that its process renews while it is alive."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HEARTBEAT_FILE = "heartbeat"
SECONDS_BETWEEN = 10.0
"""Interval between two heartbeats [s]."""
STALE_AFTER = 60.0
"""Age of a heartbeat from which its run counts as dead or hanging [s]."""


@contextmanager
def beating(folder: Path, seconds_between: float = SECONDS_BETWEEN) -> Iterator[None]:
    """Renew the heartbeat of the run in `folder` from a thread until the block ends, then remove it."""
    path = folder / HEARTBEAT_FILE
    beat = {"pid": os.getpid(), "process_started": psutil.Process().create_time()}
    is_over = threading.Event()

    def renew() -> None:
        while True:
            # Neither flushed nor renamed: a torn heartbeat is replaced by the next one, and the disk is left alone.
            path.write_text(json.dumps(beat | {"time": time.time()}), encoding="utf-8")
            if is_over.wait(seconds_between):
                return

    thread = threading.Thread(target=renew, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        path.unlink(missing_ok=True)


def age(folder: Path) -> float | None:
    """Seconds since the last heartbeat of the run in `folder`; None where there is no whole one."""
    try:
        beat = json.loads((folder / HEARTBEAT_FILE).read_text(encoding="utf-8"))
        return max(0.0, time.time() - float(beat["time"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_alive(folder: Path) -> bool:
    """Whether the run in `folder` has a heartbeat that is not stale."""
    since = age(folder)
    return since is not None and since < STALE_AFTER
