"""Running the stages of a long computation in worker processes, each once, whatever interrupts them."""

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

from tidal.jobs.stage_results import StageResults

ATTEMPTS = 2
"""Times that a stage is begun whose worker dies, of memory for instance."""
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Stage:
    """One piece of work."""

    name: str
    """Under which its result is kept."""
    work: Callable[[], dict[str, Any]]
    """Does it and returns the result, as plain data. It is sent to another process."""
    needs: tuple[str, ...] = ()
    """Stages whose results it reads."""
    cost: float = 1.0
    """About how long it takes, relative to the others."""


@dataclass(frozen=True)
class StagesStatus:
    """How far the stages are."""

    done: tuple[str, ...]
    """Finished since the last look."""
    running: tuple[str, ...]
    """Being worked on."""
    failures: dict[str, str]
    """What went wrong, by stage; stages that needed a failed one are among them."""


def run_stages(
    stages: Sequence[Stage], results: StageResults, *, workers: int, look: Callable[[StagesStatus], None]
) -> dict[str, str]:
    """Run all stages whose results are not there yet, and return what went wrong by stage.

    A stage that fails stops those that need it and no others. Workers are fresh processes with an equal share of the
    cores as threads, unless OMP_NUM_THREADS says otherwise, so that results do not depend on what else ran there. They
    end with this process, even if it is killed.

    Args:
        stages: in the order in which they are begun, as soon as what they need is there.
        results: where results are read and written.
        workers: processes, at least 1.
        look: is told the status every second and whenever a stage ends.
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
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _workers_unaware_of_interrupts() -> Iterator[None]:
    """Start workers with Ctrl-C blocked, which a terminal sends to them too: ending them is this process's business."""
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
    alive.poll(None)  # until the other end is closed, by the run or by its death
    os._exit(1)  # a stage that goes on after its run was killed would meet the one that takes the run up


def _run(stage: Stage, results: StageResults) -> str | None:
    """Do the work, keep its result, and return what went wrong."""
    started = time.perf_counter()
    try:
        content = stage.work()
        results.write(stage.name, content | {"seconds": round(time.perf_counter() - started, 1)})
    except Exception:
        return traceback.format_exc()
    return None
