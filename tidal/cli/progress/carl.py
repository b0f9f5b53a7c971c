"""Progress of training with coherence rewards: a callback of transformers' trainers."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tidal.cli.console import Update


class ShowMethod(TrainerCallback):
    """Updates a progress bar with the current method's step and newest figures.

    Args:
        update: the bar's update function.
    """

    def __init__(self, update: Update) -> None:
        self._update = update

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Move the bar."""
        logs = logs or {}
        names = {"reward": "reward", "mean_token_accuracy": "token accuracy", "loss": "loss"}
        shown = [f"{name} {float(logs[key]):.3f}" for key, name in names.items() if key in logs]
        self._update(state.global_step, state.max_steps, "  ".join(shown[:2]))
