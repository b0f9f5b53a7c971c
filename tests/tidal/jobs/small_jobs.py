"""Kinds of jobs for tests: registered in every process that unpickles one of their configurations."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.errors import InvalidValueError
from lm.runs.events import logged
from lm.runs.progress import Progress, Report, ignore
from lm.runs.run_folder import claimed
from lm.runs.stop import StopRequest
from tidal.jobs.registry import JobKind, JobResult, register


@dataclass(frozen=True)
class CountConfig:
    """Counts, slowly."""

    number: int = 3
    seconds: float = 0.0
    dies: str = ""
    """File; a job that finds it removes it and ends its process. "always": ends its process each time."""


def count(
    config: CountConfig,
    folder: Path | None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Count up to a number in a folder, one a step; a finish ends it early, a cancel raises."""
    if config.dies and (config.dies == "always" or Path(config.dies).exists()):
        Path(config.dies).unlink(missing_ok=True)
        os._exit(3)
    if config.number < 0:
        raise InvalidValueError("number", "must be at least 0", config.number)
    if folder is None:
        return JobResult({"counted": config.number}, details="here")
    with claimed(folder, "count", config, resume=resume, overwrite=overwrite) as folder:
        report, counted = logged(progress, folder), 0
        for counted in range(1, config.number + 1):
            time.sleep(config.seconds)
            report(Progress("Counting", counted, config.number))
            if stop is not None and stop.is_requested:
                break
        if stop is not None:
            stop.raise_if_cancelled()
        (folder / "counted").write_text(str(counted))
        return JobResult({"counted": counted}, {"count": folder / "counted"})


def fail(config: FailConfig, folder: Path | None, **options: Any) -> JobResult:
    """Fail as a programmer's mistake does."""
    raise ZeroDivisionError("by mistake")


@dataclass(frozen=True)
class FailConfig:
    """Fails."""


register(JobKind("count", "Count.", f"{__name__}:CountConfig", f"{__name__}:count", False, True))
register(JobKind("fail", "Fail.", f"{__name__}:FailConfig", f"{__name__}:fail", False))
