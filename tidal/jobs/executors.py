"""Where jobs run: in this thread, or in worker processes. A durable queue and a cluster have the same interface."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Protocol

from lm.checks import COUNT, require_integer
from lm.errors import TidalGymError
from lm.runs.progress import Report, ignore
from lm.runs.provenance import cores
from lm.runs.stop import StopRequest, ask_to_stop
from tidal.jobs.registry import Job, JobResult

ATTEMPTS = 2
"""Number of attempts for a job whose process dies, for example out of memory."""


class JobDiedError(TidalGymError, RuntimeError):
    """The process that ran a job died, each time that it was tried."""


class Executor(Protocol):
    """Runs jobs. Progress and metrics of a job are in the event log of its run folder."""

    def submit(self, job: Job) -> SubmittedJob:
        """Start a job, or put it behind those that were submitted before."""

    def close(self) -> None:
        """End what runs and start nothing more."""


@dataclass(frozen=True)
class SubmittedJob:
    """A job that an executor has taken."""

    job: Job
    future: Future[JobResult]
    """Becomes the result, or the error that ended the job."""

    def result(self, timeout: float | None = None) -> JobResult:
        """Wait for the result at most `timeout` seconds.

        Raises:
            TimeoutError: the job has not ended by then.
            RunCancelledError: the job was cancelled.
            JobDiedError: its process died.
        """
        return self.future.result(timeout)

    def finish(self) -> None:
        """Ask the job to stop working, save and evaluate what there is, and end as completed."""
        if self.job.folder is not None and not self.future.done():
            ask_to_stop(self.job.folder, "finish")

    def cancel(self) -> None:
        """Take the job back if it has not begun; else ask it to save a checkpoint and to end as cancelled."""
        if not self.future.cancel() and self.job.folder is not None and not self.future.done():
            ask_to_stop(self.job.folder, "cancel")


class ThisProcess:
    """Executor that runs each job at once, in the thread that submits it.

    Args:
        progress: receives the progress of the jobs.
        stop: stop request for the job that runs.
    """

    def __init__(self, *, progress: Report = ignore, stop: StopRequest | None = None) -> None:
        self._progress, self._stop = progress, stop

    def submit(self, job: Job) -> SubmittedJob:
        """Run the job; it has ended when this returns."""
        future: Future[JobResult] = Future()
        try:
            future.set_result(job.run(progress=self._progress, stop=self._stop or StopRequest(folder=job.folder)))
        except Exception as error:
            future.set_exception(error)
        return SubmittedJob(job, future)

    def close(self) -> None:
        """Does nothing: no job runs when it is called."""


class ProcessPool:
    """Executor with worker processes, which begin fresh and end with this process, even if it is killed.

    Each worker uses an equal share of the cores as threads, unless OMP_NUM_THREADS is set. A job whose process dies is
    tried once more. Results come back without `details`.

    Args:
        workers: number of jobs that run side by side, at least 1; None: the number of cores.

    Raises:
        InvalidValueError: `workers` is below 1.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = cores() if workers is None else require_integer("workers", workers, COUNT)
        self._lock = threading.RLock()
        self._waiting: deque[tuple[Job, Future[JobResult], int]] = deque()
        self._running: set[Future[JobResult]] = set()
        self._pool: ProcessPoolExecutor | None = None
        self._is_closed = False
        # Workers watch the other end, which closes when this process closes it or dies.
        self._alive, self._ours = multiprocessing.get_context("spawn").Pipe(duplex=False)

    def submit(self, job: Job) -> SubmittedJob:
        """Start a job as soon as a worker is free."""
        future: Future[JobResult] = Future()
        with self._lock:
            self._waiting.append((job, future, 0))
            self._start_waiting()
        return SubmittedJob(job, future)

    def close(self) -> None:
        """End the workers at once; a job that has checkpoints can be resumed from its last one."""
        with self._lock:
            self._is_closed = True
            for _, future, _ in self._waiting:
                future.cancel()
            self._waiting.clear()
        self._ours.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._alive.close()

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self.workers and not self._is_closed:
            job, future, deaths = self._waiting.popleft()
            if not future.running() and not future.set_running_or_notify_cancel():
                continue
            self._pool = self._pool or self._new_pool()
            self._running.add(future)
            try:
                with _workers_unaware_of_interrupts():
                    inner = self._pool.submit(_run, job)
            except BrokenProcessPool:  # a worker has died, and the jobs that ran have not been told yet
                self._running.discard(future)
                self._pool = None
                self._waiting.appendleft((job, future, deaths))
                continue
            inner.add_done_callback(partial(self._take_result, self._pool, job, future, deaths))

    def _take_result(
        self, pool: ProcessPoolExecutor, job: Job, future: Future[JobResult], deaths: int, inner: Future[JobResult]
    ) -> None:
        with self._lock:
            self._running.discard(future)
            if inner.cancelled() or (self._is_closed and inner.exception() is not None):
                future.set_exception(JobDiedError("The executor was closed while the job ran."))
            elif not isinstance(inner.exception(), BrokenProcessPool):
                with suppress(Exception):
                    _copy(inner, future)
            else:
                if self._pool is pool:
                    self._pool = None
                if deaths + 1 < ATTEMPTS:
                    self._waiting.appendleft((job, future, deaths + 1))
                else:
                    future.set_exception(JobDiedError("Its process died."))
            self._start_waiting()

    def _new_pool(self) -> ProcessPoolExecutor:
        threads = max(1, cores() // self.workers)
        return ProcessPoolExecutor(
            self.workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin_worker,
            initargs=(threads, self._alive),
        )


def _copy(source: Future[JobResult], target: Future[JobResult]) -> None:
    error = source.exception()
    if error is None:
        target.set_result(source.result())
    else:
        target.set_exception(error)


def _run(job: Job) -> JobResult:
    """Run a job in a worker process."""
    return replace(job.run(stop=StopRequest(folder=job.folder)), details=None)


@contextmanager
def _workers_unaware_of_interrupts() -> Iterator[None]:
    """Start workers with SIGINT blocked: a terminal's Ctrl-C reaches them too, but this process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(threads: int, alive: Connection) -> None:
    threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()

    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(threads)


def _end_with_parent(alive: Connection) -> None:
    alive.poll(None)  # returns when the parent closes the other end or dies
    os._exit(1)  # a surviving job would collide with the resumed run
