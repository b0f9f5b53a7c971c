"""Run folders of jobs that can also run without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lm.runs.events import logged
from lm.runs.progress import Report
from lm.runs.run_folder import claimed


@contextmanager
def claimed_if_given(
    folder: Path | None, kind: str, config: Any, progress: Report, *, overwrite: bool
) -> Iterator[tuple[Path | None, Report]]:
    """Hold the run folder of a job that cannot be resumed, see :func:`lm.runs.run_folder.claimed`; None holds nothing.

    Yields:
        The folder, and the report that also writes to its event log; without a folder, None and `progress`.
    """
    if folder is None:
        yield None, progress
        return
    with claimed(folder, kind, config, resume=None, overwrite=overwrite) as path:
        yield path, logged(progress, path)
