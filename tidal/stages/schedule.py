"""Runs the stages of a long computation as soon as what they need is done; a resumed one repeats no finished stage."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

from lm.errors import TidalGymError
from lm.runs.stop import StopRequest
from tidal.stages.stage_results import StageResults

SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Stage:
    """One stage of a computation."""

    name: str
    """Stage name, the key of its result."""
    work: Callable[[], dict[str, Any]]
    """Function that computes the result as plain data."""
    needs: tuple[str, ...] = ()
    """Names of the stages whose results this stage reads."""
    cost: float = 1.0
    """Approximate duration, relative to the other stages."""

    def run(self, results: StageResults) -> None:
        """Compute the result and write it, with the seconds that it took."""
        started = time.perf_counter()
        content = self.work()
        results.write(self.name, content | {"seconds": round(time.perf_counter() - started, 1)})


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
    submit: Callable[[Stage], Future[Any]],
    workers: int,
    look: Callable[[StagesStatus], None],
    stop: StopRequest | None = None,
) -> dict[str, str]:
    """Run all stages without results, and return the error messages by stage name.

    A failed stage stops only the stages that need it.

    Args:
        stages: stages in the order of their start; each waits for the results that it needs.
        results: folder of results to read and write.
        submit: starts :meth:`Stage.run` of a stage elsewhere; its future ends when the result is written.
        workers: number of stages that run side by side, at least 1.
        look: callback that receives the status every second and whenever a stage ends.
        stop: stop request. Finish: the running stages end, and no other begins.

    Raises:
        RunCancelledError: `stop` requested a cancel; running stages are the caller's to end.
    """
    waiting = [stage for stage in stages if stage.name not in results]
    failures: dict[str, str] = {}
    running: dict[Future[Any], Stage] = {}
    while waiting or running:
        if stop is not None and stop.is_requested:
            stop.raise_if_cancelled()
            waiting.clear()
        _drop_hopeless(waiting, failures)
        for stage in [one for one in waiting if _is_ready(one, results)][: workers - len(running)]:
            waiting.remove(stage)
            running[submit(stage)] = stage
        ended, _ = wait(running, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
        done = []
        for future in ended:
            stage = running.pop(future)
            error = future.exception()
            if error is None or stage.name in results:
                done.append(stage.name)
            else:
                failures[stage.name] = _text_of(error)
        look(StagesStatus(tuple(done), tuple(stage.name for stage in running.values()), failures))
    return failures


def _text_of(error: BaseException) -> str:
    """A user's error as its sentence, another one with its traceback."""
    return str(error) if isinstance(error, TidalGymError) else "".join(traceback.format_exception(error))


def _is_ready(stage: Stage, results: StageResults) -> bool:
    return all(name in results for name in stage.needs)


def _drop_hopeless(waiting: list[Stage], failures: dict[str, str]) -> None:
    for stage in list(waiting):
        if lacking := [name for name in stage.needs if name in failures]:
            failures[stage.name] = f"It needs {', '.join(lacking)}."
            waiting.remove(stage)
