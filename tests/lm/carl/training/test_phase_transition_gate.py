"""The phase transition gate, by itself and in a Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from lm.carl import PhaseTransitionGate
from lm.errors import InvalidValueError


def test_three_of_the_last_five() -> None:
    gate = PhaseTransitionGate()
    accuracies = [0.99, 0.5, 0.99, 0.5, 0.5, 0.99, 0.99, 0.995, 1.0]
    opened = [gate.check(value, step=step) for step, value in enumerate(accuracies)]
    assert opened == [False] * 6 + [True, False, False]  # opens once
    assert gate.is_open and gate.opened_at == 6


def test_the_peak_of_entropy_is_kept() -> None:
    gate = PhaseTransitionGate()
    for step, entropy in enumerate([1.0, 3.0, None, 2.0]):
        gate.check(0.1, entropy, step)
    assert (gate.peak_entropy, gate.peak_entropy_step) == (3.0, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"threshold": 0}, r"`threshold` must be in \(0, 1\]. Received 0."),
        ({"window": 0}, "`window` must be at least 1. Received 0."),
        ({"min_above": 6}, r"`min_above` must lie between 1 and `window` \(5\). Received 6."),
    ],
)
def test_bad_arguments(arguments: dict[str, float], says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        PhaseTransitionGate(**arguments)


# In a Trainer


class Accuracies(TrainerCallback):
    """Adds to each log the accuracy of its step, as SFTTrainer does."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            logs |= {"mean_token_accuracy": self.values[state.global_step - 1], "entropy": 5.0 - state.global_step}


class OneNumber(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.number * x).mean()}


def trainer_with(gate: PhaseTransitionGate, values: list[float], folder: Path, steps: int) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=steps, logging_steps=1, save_steps=2, use_cpu=True, report_to=[],
        disable_tqdm=True, per_device_train_batch_size=1,
    )  # fmt: skip
    data = [{"x": torch.ones(1)}] * 64
    return Trainer(OneNumber(), arguments, train_dataset=data, callbacks=[Accuracies(values), gate])


ACCURACIES = [0.2, 1.0, 1.0, 0.3, 1.0, 1.0, 1.0, 1.0]
"""The third of the last five comes with step 5."""


def test_training_stops_and_saves_when_the_gate_opens(tmp_path: Path) -> None:
    gate = PhaseTransitionGate()
    trainer = trainer_with(gate, ACCURACIES, tmp_path, 8)
    trainer.train()
    assert trainer.state.global_step == gate.opened_at == 5
    assert (tmp_path / "checkpoint-5").is_dir()
    assert (gate.peak_entropy, gate.peak_entropy_step) == (4.0, 1)


def test_the_gate_survives_a_resume(tmp_path: Path) -> None:
    """After 4 steps another process has seen two of the three; the next one at step 5 opens the gate."""
    trainer_with(PhaseTransitionGate(), ACCURACIES, tmp_path, 4).train()
    gate = PhaseTransitionGate()
    trainer = trainer_with(gate, ACCURACIES, tmp_path, 8)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert trainer.state.global_step == gate.opened_at == 5
    assert (gate.peak_entropy, gate.peak_entropy_step) == (4.0, 1)


def test_a_checkpoint_that_never_saw_the_gate(tmp_path: Path) -> None:
    other = trainer_with(PhaseTransitionGate(), ACCURACIES, tmp_path, 4)
    other.remove_callback(PhaseTransitionGate)
    other.state.stateful_callbacks.pop("PhaseTransitionGate")
    other.train()
    gate = PhaseTransitionGate()
    trainer_with(gate, ACCURACIES, tmp_path, 8).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert gate.opened_at == 7  # of the steps from 5 on
