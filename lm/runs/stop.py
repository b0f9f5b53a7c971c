"""Stop requests: finish or cancel a run early, from its own process or through a file in its folder."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Literal

from lm.checks import above, require_number, require_one_of
from lm.errors import TidalGymError
from lm.runs import run_lock
from lm.runs.whole_file import write_text

STOP_FILE = "stop"
"""File in a run's folder that asks the run to end; it holds "finish" or "cancel"."""
SECONDS_BETWEEN_LOOKS = 1.0
"""Interval at which a run looks for the file [s]."""
MINUTES = above(0, 366 * 24 * 60)
"""Range of a time limit [minutes]."""


class RunCancelledError(TidalGymError, RuntimeError):
    """A run was cancelled. What it had saved is kept; a resumable run can be resumed."""


class StopRequest:
    """Request to end a run early, shared between the run and its controller. Thread-safe.

    *Finish* means: stop working, save and evaluate what there is, end as completed. *Cancel* means: save a checkpoint
    where the kind of run has one, and end as cancelled. A cancel overrides a finish; neither can be taken back.

    Args:
        max_minutes: time after which a finish is requested [minutes], above 0, at most a year; None: never.
        folder: run folder where :func:`ask_to_stop` of another process can ask for an end; None: it cannot. What was
            asked of a run before is forgotten.

    Raises:
        InvalidValueError: `max_minutes` is out of its range.
    """

    def __init__(self, max_minutes: float | None = None, folder: Path | None = None) -> None:
        self._finish, self._cancel = threading.Event(), threading.Event()
        if max_minutes is not None:
            max_minutes = require_number("max_minutes", max_minutes, MINUTES)
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._file = None if folder is None else folder / STOP_FILE
        self._next_look = 0.0
        if self._file is not None and not run_lock.is_held(self._file.parent):
            self._file.unlink(missing_ok=True)  # it concerned a run that has ended

    def finish(self) -> None:
        """Requests that the run finishes."""
        self._finish.set()

    def cancel(self) -> None:
        """Requests that the run cancels."""
        self._cancel.set()

    def cancel_only(self) -> StopRequest:
        """A stop request for work that must be whole: it is cancelled with this one, and never finishes."""
        part = StopRequest()
        part._cancel = self._cancel
        return part

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is to cancel."""
        self._look()
        return self._cancel.is_set()

    @property
    def is_requested(self) -> bool:
        """Whether the run is to end, in either way."""
        self._look()
        is_late = self._deadline is not None and time.monotonic() >= self._deadline
        return self._cancel.is_set() or self._finish.is_set() or is_late

    def raise_if_cancelled(self) -> None:
        """End a run that has nothing to save.

        Raises:
            RunCancelledError: the run is to cancel.
        """
        if self.is_cancelled:
            raise RunCancelledError("The run was cancelled.")

    def _look(self) -> None:
        """Take up what the file in the run's folder asks for, at most once a second."""
        if self._file is None or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
        try:
            asked = self._file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return
        if asked == "cancel":
            self.cancel()
        elif asked == "finish":
            self.finish()


def ask_to_stop(folder: Path, way: Literal["finish", "cancel"]) -> None:
    """Ask the run in a folder, in whatever process it runs, to finish or to cancel. It looks once a second.

    Raises:
        InvalidValueError: `way` is neither.
    """
    write_text(folder / STOP_FILE, require_one_of("way", way, ("finish", "cancel")))
