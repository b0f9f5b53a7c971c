"""Progress reports and stop requests of a run under transformers' Trainer, as a callback."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lm.runs.progress import Progress, Report
from lm.runs.stop import StopRequest

METRICS = {
    "loss": "loss",
    "reward": "reward",
    "mean_token_accuracy": "token_accuracy",
    "eval_bits_per_byte": "validation_bits_per_byte",
    "eval_excess": "excess",
}
"""Metrics that are reported, by the name under which the Trainer logs them."""


class TrainerRunControl(TrainerCallback):
    """Reports every step, and ends the training when that is requested.

    A checkpoint is saved first, and a run that is to finish is evaluated.

    Args:
        stage: name of what is being done.
        report: receives the progress.
        stop: stop request of the run, or None.
        tokens_per_step: tokens of an optimizer step, for the rate; None: no rate is reported.
        evaluates: whether the Trainer has data to evaluate on.
    """

    def __init__(
        self,
        stage: str,
        report: Report,
        stop: StopRequest | None = None,
        tokens_per_step: int | None = None,
        *,
        evaluates: bool = True,
    ) -> None:
        self._stage = stage
        self._report = report
        self._stop = stop
        self._tokens_per_step = tokens_per_step
        self._evaluates = evaluates
        self._metrics: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock, at a step above 0 when the run is resumed."""
        self._started, self._first_step = time.perf_counter(), state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Report the step; end the training when that is requested."""
        if self._tokens_per_step is not None:
            seconds = max(time.perf_counter() - self._started, 1e-9)
            tokens = (state.global_step - self._first_step) * self._tokens_per_step
            self._metrics["tokens_per_second"] = tokens / seconds
        self._report(Progress(self._stage, state.global_step, state.max_steps, "steps", dict(self._metrics)))
        if self._stop is not None and self._stop.is_requested:
            control.should_training_stop = True
            control.should_save = True
            control.should_evaluate |= self._evaluates and not self._stop.is_cancelled

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the newest metrics."""
        self._metrics |= {name: float(logs[key]) for key, name in METRICS.items() if key in (logs or {})}  # type: ignore[index]
