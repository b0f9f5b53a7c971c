"""The phase transition gate: early stopping of supervised fine-tuning."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from lm.checks import COUNT, above, require_integer, require_number
from lm.errors import InvalidValueError
from lm.pretraining.trainer_checkpoints import take_up


class PhaseTransitionGate(TrainerCallback, ExportableState):
    """Callback that stops supervised fine-tuning once the model's token accuracy stays above a threshold.

    It reads ``mean_token_accuracy`` and ``entropy`` in the logs of TRL's SFTTrainer, and opens when enough of the last
    logs reach the threshold. Its state is part of the trainer's state, so that resumed runs continue with it.

    Args:
        threshold: accuracy to reach, in (0, 1].
        window: number of last logs to consider, at least 1.
        min_above: number of these logs that must reach the threshold, from 1 to `window`.
    """

    def __init__(self, threshold: float = 0.99, window: int = 5, min_above: int = 3) -> None:
        require_number("threshold", threshold, above(0, 1))
        require_integer("window", window, COUNT)
        if not 1 <= require_integer("min_above", min_above) <= window:
            raise InvalidValueError("min_above", f"must lie between 1 and `window` ({window})", min_above)
        self.threshold = threshold
        self.window = window
        self.min_above = min_above
        self.recent: list[float] = []
        """The last accuracies, newest last."""
        self.is_open = False
        """Whether the gate is open: the model has crystallised."""
        self.opened_at: int | None = None
        """Step at which the gate opened; None while it is closed."""
        self.peak_entropy: float | None = None
        """Highest mean entropy logged so far [nats]."""
        self.peak_entropy_step: int | None = None
        """Step of the highest mean entropy."""

    def check(self, accuracy: float, entropy: float | None = None, step: int = 0) -> bool:
        """Records a step's metrics; returns True if they open the gate."""
        if entropy is not None and (self.peak_entropy is None or entropy > self.peak_entropy):
            self.peak_entropy, self.peak_entropy_step = entropy, step
        self.recent = [*self.recent, accuracy][-self.window :]
        opens = not self.is_open and sum(value >= self.threshold for value in self.recent) >= self.min_above
        if opens:
            self.is_open, self.opened_at = True, step
        return opens

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Restores the state of an interrupted run."""
        take_up(self, state)
        if self.is_open:
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Reads the training metrics; metrics of evaluations have other names."""
        if not logs or "mean_token_accuracy" not in logs:
            return
        if self.check(float(logs["mean_token_accuracy"]), _number(logs.get("entropy")), state.global_step):
            control.should_training_stop = True
            control.should_save = True

    def state(self) -> dict[str, Any]:
        """State for checkpoints."""
        attributes = ("recent", "is_open", "opened_at", "peak_entropy", "peak_entropy_step")
        rule = ("threshold", "window", "min_above")
        return {
            "args": {name: getattr(self, name) for name in rule},
            "attributes": {name: getattr(self, name) for name in attributes},
        }


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
