"""Progress of a pretraining run: a callback of transformers' Trainer."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tidal.cli.console import Update


class ShowProgress(TrainerCallback):
    """Updates a progress bar with step, loss, speed and the last validation.

    Args:
        update: the bar's update function.
        tokens_per_step: tokens in one optimizer step.
    """

    def __init__(self, update: Update, tokens_per_step: int) -> None:
        self._update = update
        self._tokens_per_step = tokens_per_step
        self._loss = self._validation = ""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; a resumed run starts at a step above 0."""
        self._started, self._first_step = time.perf_counter(), state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar."""
        seconds = time.perf_counter() - self._started
        speed = (state.global_step - self._first_step) * self._tokens_per_step / max(seconds, 1e-9)
        note = f"{self._loss}{self._validation}{speed:,.0f} tokens/s"
        self._update(state.global_step, state.max_steps, note)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the newest figures."""
        logs = logs or {}
        if "loss" in logs:
            self._loss = f"loss {float(logs['loss']):.3f}  "
        if "eval_bits_per_byte" in logs:
            self._validation = f"validation {float(logs['eval_bits_per_byte']):.4f} bits/byte  "
        if "eval_excess" in logs:
            self._validation = f"{float(logs['eval_excess']):.4f} nats above the optimum  "
