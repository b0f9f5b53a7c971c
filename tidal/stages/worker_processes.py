"""Runs the stages of a long computation in worker processes; a resumed computation repeats no finished stage."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from lm.runs.stop import StopRequest
from tidal.stages.stage_results import StageResults

ATTEMPTS = 2
"""Number of attempts for a stage whose worker process dies, for example out of memory."""
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Stage:
    """One stage of a computation."""

    name: str
    """Stage name, the key of its result."""
    work: Callable[[], dict[str, Any]]
    """Function that computes the result as plain data; must be picklable, since it runs in another process."""
    needs: tuple[str, ...] = ()
    """Names of the stages whose results this stage reads."""
    cost: float = 1.0
    """Approximate duration, relative to the other stages."""


@dataclass(frozen=True)
class StagesStatus:
    """Status of the stages of a computation."""

    done: tuple[str, ...]
    """Names of the stages that finished since the last status."""
    running: tuple[str, ...]
    """Names of the running stages."""
    failures: dict[str, str]
    """Error messages by stage name, including stages that needed a failed one."""


def run_stages(
    stages: Sequence[Stage],
    results: StageResults,
    *,
    workers: int,
    look: Callable[[StagesStatus], None],
    stop: StopRequest | None = None,
) -> dict[str, str]:
    """Run all stages without results, and return the error messages by stage name.

    A failed stage stops only the stages that need it. Workers are fresh processes, so that results do not depend on
    earlier stages. Each uses an equal share of the cores as threads, unless OMP_NUM_THREADS is set. They end with this
    process, even if it is killed.

    Args:
        stages: stages in the order of their start; each waits for the results that it needs.
        results: folder of results to read and write.
        workers: number of worker processes, at least 1.
        look: callback that receives the status every second and whenever a stage ends.
        stop: stop request. Finish: the running stages are completed, and no other is started. Cancel: the workers end
            at once; what their stages had not saved is lost.

    Raises:
        RunCancelledError: `stop` requested a cancel.
    """
    waiting = [stage for stage in stages if stage.name not in results]
    failures: dict[str, str] = {}
    attempts: dict[str, int] = {}
    while waiting:
        alive, ours = multiprocessing.get_context("spawn").Pipe(duplex=False)
        pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin_worker,
            initargs=(max(1, cores() // workers), alive),
        )
        running: dict[Future[str | None], Stage] = {}
        try:
            while waiting or running:
                _drop_hopeless(waiting, failures)
                if stop is not None and stop.is_requested:
                    stop.raise_if_cancelled()
                    waiting.clear()
                for stage in [one for one in waiting if _is_ready(one, results)][: workers - len(running)]:
                    waiting.remove(stage)
                    with _workers_unaware_of_interrupts():
                        running[pool.submit(_run, stage, results)] = stage
                ended, _ = wait(running, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                done = []
                for future in ended:
                    error = future.result()
                    stage = running.pop(future)
                    if error is None:
                        done.append(stage.name)
                    else:
                        failures[stage.name] = error
                look(StagesStatus(tuple(done), tuple(stage.name for stage in running.values()), failures))
        except BrokenProcessPool:
            for stage in running.values():
                attempts[stage.name] = attempts.get(stage.name, 0) + 1
                if stage.name in results:
                    continue
                if attempts[stage.name] < ATTEMPTS:
                    waiting.insert(0, stage)
                else:
                    failures[stage.name] = "Its process died."
        finally:
            ours.close()  # ends the workers
            pool.shutdown(wait=True, cancel_futures=True)
            alive.close()
    return failures


def _is_ready(stage: Stage, results: StageResults) -> bool:
    return all(name in results for name in stage.needs)


def _drop_hopeless(waiting: list[Stage], failures: dict[str, str]) -> None:
    for stage in list(waiting):
        if lacking := [name for name in stage.needs if name in failures]:
            failures[stage.name] = f"It needs {', '.join(lacking)}."
            waiting.remove(stage)


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    alive.poll(None)  # returns when the run closes the other end or dies
    os._exit(1)  # a surviving stage would collide with the resumed run


def _run(stage: Stage, results: StageResults) -> str | None:
    """Run a stage, write its result, and return the error message or None."""
    started = time.perf_counter()
    try:
        content = stage.work()
        results.write(stage.name, content | {"seconds": round(time.perf_counter() - started, 1)})
    except Exception:
        return traceback.format_exc()
    return None
