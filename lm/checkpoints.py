"""Checkpoints of transformers' Trainer: the newest that is whole, training on from it, and a disk that is full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers import Trainer, TrainerState

from lm.errors import CheckpointError


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint whose state, which the Trainer writes last, can be read; None where there is none."""
    numbered = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    for candidate in sorted(numbered, key=lambda path: -int(path.name.removeprefix("checkpoint-"))):
        try:
            json.loads((candidate / "trainer_state.json").read_text(encoding="utf-8"))
            with safe_open(candidate / "model.safetensors", "pt"):
                pass
        except (OSError, ValueError, SafetensorError):
            continue  # the run died while it wrote this one
        return str(candidate)
    return None


def train_to_the_end(trainer: Trainer, checkpoint: str | None, max_steps: int) -> int:
    """Train to the end from a checkpoint, or take its best weights where it is the end already; returns the steps.

    Trainer itself would take one step more from a checkpoint of the last one.
    """
    if checkpoint is not None:
        state = TrainerState.load_from_json(str(Path(checkpoint) / "trainer_state.json"))
        if state.global_step >= max_steps:
            weights = load_file(Path(state.best_model_checkpoint or checkpoint) / "model.safetensors")
            trainer.model.load_state_dict(weights, strict=False)  # a tied head is not on disk
            trainer.model.tie_weights()
            trainer.state = state
            trainer._load_callback_state()
            return state.global_step
    trainer.train(resume_from_checkpoint=checkpoint)
    return trainer.state.global_step


@contextmanager
def naming_a_full_disk(folder: Path) -> Iterator[None]:
    """Turn what the writers raise when a disk is full into an error that names the run's last whole checkpoint."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        # torch's and safetensors' writers do not raise OSError.
        is_writing = not isinstance(error, RuntimeError) or "inline_container" in str(error)
        if not is_writing:
            raise
        checkpoint = last_whole_checkpoint(folder / "checkpoints")
        kept = f"The checkpoint {checkpoint} is whole; resume from it." if checkpoint else "There is no checkpoint yet."
        raise CheckpointError(
            f"The run in {folder} could not be written (is the disk full?): {error}. {kept}"
        ) from error
