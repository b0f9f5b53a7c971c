"""What a progress bar says of a sweep: a callback of transformers' Trainer."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tidal.cli.console import Update


class ShowSweepProgress(TrainerCallback):
    """Tells a progress bar how many runs are done, the present one by the share of its steps.

    Args:
        update: of the bar.
        done: runs before this one.
        total: runs in all.
    """

    def __init__(self, update: Update, done: int, total: int) -> None:
        self._update = update
        self._done = done
        self._total = total

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar."""
        done = self._done + state.global_step / state.max_steps
        self._update(done, self._total, f"run {self._done + 1} of {self._total}")
