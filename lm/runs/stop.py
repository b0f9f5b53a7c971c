"""Stop requests: finish or cancel a run early."""

from __future__ import annotations

import threading
import time

from lm.errors import TidalGymError


class RunCancelledError(TidalGymError, RuntimeError):
    """A run was cancelled. What it had saved is kept; a resumable run can be resumed."""


class StopRequest:
    """Request to end a run early, shared between the run and its controller. Thread-safe.

    *Finish* means: stop working, save and evaluate what there is, end as completed. *Cancel* means: save a checkpoint
    where the kind of run has one, and end as cancelled. A cancel overrides a finish; neither can be taken back.

    Args:
        max_minutes: time after which a finish is requested [minutes], above 0; None: never.
    """

    def __init__(self, max_minutes: float | None = None) -> None:
        self._finish, self._cancel = threading.Event(), threading.Event()
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes

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
        return self._cancel.is_set()

    @property
    def is_requested(self) -> bool:
        """Whether the run is to end, in either way."""
        is_late = self._deadline is not None and time.monotonic() >= self._deadline
        return self._cancel.is_set() or self._finish.is_set() or is_late

    def raise_if_cancelled(self) -> None:
        """End a run that has nothing to save.

        Raises:
            RunCancelledError: the run is to cancel.
        """
        if self.is_cancelled:
            raise RunCancelledError("The run was cancelled.")
