"""Stop request that is made at a step of a run, for tests of runs that end early."""

from __future__ import annotations

from lm.runs.progress import Progress
from lm.runs.stop import StopRequest


class StopAt:
    """Requests that a run ends at a step, and keeps the run's reports."""

    def __init__(self, step: int, how: str) -> None:
        self.stop = StopRequest()
        self.reports: list[Progress] = []
        self._step, self._how = step, how

    def __call__(self, progress: Progress) -> None:
        self.reports.append(progress)
        if progress.done == self._step:
            getattr(self.stop, self._how)()
