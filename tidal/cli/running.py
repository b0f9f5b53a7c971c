"""Runs a command's job in this process: shows its progress, and turns signals into stop requests."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from jsonargparse import Namespace

from lm.paths import user_path
from lm.runs.stop import RunCancelledError, StopRequest
from tidal.cli.console import reporting
from tidal.jobs.registry import Job, JobResult, job_kind

CANCELLING = b"\nStopping after this step. A second signal ends the run at once.\n"


def run_job(
    kind: str,
    config: Any,
    folder: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    max_minutes: float | None = None,
) -> JobResult:
    """Run a job with a progress bar.

    Ctrl-C and SIGTERM cancel a job that can be resumed, which saves a checkpoint; they end another one at once.

    Args:
        kind: kind of job.
        config: its configuration.
        folder: run folder, or None.
        resume: go on with the run in the folder.
        overwrite: replace the run in the folder.
        max_minutes: time after which the job finishes with what it has [minutes]; None: no limit.

    Raises:
        KeyboardInterrupt: a signal cancelled the job.
        RunCancelledError: another process cancelled it.
    """
    job = Job(kind, config, folder, resume=resume, overwrite=overwrite)
    stop = StopRequest(max_minutes, folder)
    with reporting() as report:
        if not job_kind(kind).is_resumable:
            return job.run(progress=report, stop=stop)
        with cancelled_by_signals(stop):
            return job.run(progress=report, stop=stop)


def run_in_folder(kind: str, config: Any, options: Namespace) -> JobResult:
    """Run a job as :func:`run_job` does, with the options of :func:`tidal.cli.parsing.add_run_folder`."""
    return run_job(
        kind,
        config,
        user_path(options.output),
        resume=options.resume,
        overwrite=options.overwrite,
        max_minutes=options.max_minutes,
    )


@contextmanager
def cancelled_by_signals(stop: StopRequest) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM cancel through `stop`; a second one acts as it did before.

    Raises:
        KeyboardInterrupt: the block ended as cancelled because of a signal; its argument is the signal's number.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def cancel(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()
        stop.cancel()
        os.write(2, CANCELLING)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, cancel)
    try:
        yield
    except RunCancelledError as error:
        if not received:
            raise
        if callable(handler := before[signal.Signals(received[0])]):
            handler(received[0], None)
        raise KeyboardInterrupt(*received) from error
    finally:
        restore()
