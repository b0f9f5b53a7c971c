"""Progress of a sweep: a callback of transformers' Trainer."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tidal.cli.console import Update


class ShowSweepProgress(TrainerCallback):
    """Updates a progress bar with the number of finished runs; the current run counts by its share of steps.

    Args:
        update: the bar's update function.
        done: number of runs before this one.
        total: number of runs in the sweep.
    """

    def __init__(self, update: Update, done: int, total: int) -> None:
        self._update = update
        self._done = done
        self._total = total

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar."""
        done = self._done + state.global_step / state.max_steps
        self._update(done, self._total, f"run {self._done + 1} of {self._total}")
