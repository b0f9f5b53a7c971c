"""State of a policy optimisation that TRL's checkpoints lack, so that resumed runs equal uninterrupted ones."""

from __future__ import annotations

import math
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from lm.carl.phases import PhaseAdaptiveWeights
from lm.pretraining.trainer_checkpoints import take_up


class OrderOfPrompts(TrainerCallback):
    """Callback that restores the order of the prompts in a resumed run.

    TRL's sampler draws each epoch's order from a generator, which a new process starts again.
    """

    def __init__(self) -> None:
        self._is_new = True

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Draws the orders of the epochs before the first one of this process."""
        if self._is_new:
            for _ in range(math.floor(state.epoch or 0)):
                next(iter(train_dataloader.batch_sampler.sampler))
        self._is_new = False


class PhaseOfTraining(TrainerCallback, ExportableState):
    """Callback that stores the state of phase-adaptive weights in checkpoints."""

    def __init__(self, weights: PhaseAdaptiveWeights) -> None:
        self._weights = weights

    @property
    def order(self) -> float | None:
        """Order R of the previous batch."""
        return self._weights.order

    @order.setter
    def order(self, order: float | None) -> None:
        self._weights.order = order

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Restores the state of an interrupted run."""
        take_up(self, state)

    def state(self) -> dict[str, Any]:
        """State for checkpoints."""
        return {"args": {}, "attributes": {"order": self.order}}
