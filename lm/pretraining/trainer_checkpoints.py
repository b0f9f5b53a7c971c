"""Checkpoints of transformers' Trainer: the newest that is whole, training on from it, and a disk that is full."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from lm.errors import CheckpointError
from lm.finite_weights import require_finite
from lm.passed_files import read_object, record_from
from lm.runs.stop import StopRequest
from lm.runs.tensors.checksums import require_unchanged, write_checksums
from lm.runs.whole_file import write_json
from lm.runs.whole_folder import finish_folder

STATE_FILE = "trainer_state.json"
"""File of the Trainer's state; the last file that it writes of a checkpoint."""


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint whose files can all be read; None where there is none."""
    numbered = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    for candidate in sorted(numbered, key=lambda path: -int(path.name.removeprefix("checkpoint-"))):
        try:
            read_object(candidate / STATE_FILE)
            require_unchanged(candidate)
            with safe_open(candidate / "model.safetensors", "pt"):
                pass
            for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
                with zipfile.ZipFile(candidate / name) as archive:
                    if archive.testzip() is not None:
                        raise ValueError(name)
        except (OSError, ValueError, CheckpointError, SafetensorError, zipfile.BadZipFile):
            continue  # the run died while it wrote this one, or it was damaged since
        return str(candidate)
    return None


def take_up(callback: ExportableState, state: TrainerState) -> None:
    """Give a callback back what it knew when the run was killed; to be called when training begins.

    The Trainer by itself does so only if asked, and in another object, with the old run's arguments.
    """
    # The Trainer saves what it finds under this name, and fails where a checkpoint has never seen the callback.
    saved = state.stateful_callbacks.setdefault(type(callback).__name__, callback.state())
    if state.global_step > 0:
        for name, value in saved["attributes"].items():
            setattr(callback, name, value)


def train_to_the_end(
    trainer: Trainer, checkpoint: str | None, max_steps: int, stop: StopRequest | None = None
) -> int:
    """Train to the end from a checkpoint, or take its best weights where it is the end already; returns the steps.

    Trainer itself would take one step more from a checkpoint of the last one, be it that of `max_steps` or the one at
    which a callback stopped the run.

    Raises:
        RunCancelledError: `stop` asked the run to cancel.
    """
    if checkpoint is not None:
        state = _state_of(Path(checkpoint))
        trainer.state = state
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ExportableState):
                callback.on_train_begin(trainer.args, state, trainer.control)
        if state.global_step >= max_steps or trainer.control.should_training_stop:
            path = Path(state.best_model_checkpoint or checkpoint) / "model.safetensors"
            require_unchanged(path)
            weights = load_file(path)
            trainer.model.load_state_dict(weights, strict=False)  # a tied head is not on disk
            trainer.model.tie_weights()
            # What measures the model next does so in the precision that the Trainer leaves it in.
            trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True)
            return state.global_step
    trainer.add_callback(_FinishCheckpoints)
    trainer.add_callback(_RequireFinite)  # last: the others decide when there is something to save
    trainer.train(resume_from_checkpoint=checkpoint)
    if stop is not None:
        stop.raise_if_cancelled()
    return trainer.state.global_step


@dataclass(frozen=True)
class _Reached:
    """Fields of a checkpoint's state that are read here."""

    global_step: int
    """Steps taken."""
    best_model_checkpoint: str | None = None
    """Folder of the best checkpoint so far."""


def _state_of(checkpoint: Path) -> TrainerState:
    """Reads the Trainer's state; the path of the best checkpoint is adapted to a moved folder."""
    path = checkpoint / STATE_FILE
    content = read_object(path)
    read = {name: content[name] for name in ("global_step", "best_model_checkpoint") if name in content}
    best = record_from(_Reached, read, path).best_model_checkpoint
    if best is not None and (beside := str(checkpoint.parent / Path(best).name)) != best:
        write_json(path, content | {"best_model_checkpoint": beside})
    return TrainerState.load_from_json(str(path))


class _FinishCheckpoints(TrainerCallback):
    """Callback that adds checksums to each checkpoint, flushes it to disk, and sets its mode from the umask."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: object, **kwargs: object) -> None:
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if folder.is_dir():  # one that is no better than those kept is already gone
            write_checksums(folder)
            finish_folder(folder)


class _RequireFinite(TrainerCallback):
    """Ends a training that has diverged, before it is measured or saved."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        is_last = state.global_step >= state.max_steps
        if control.should_log or control.should_evaluate or control.should_save or is_last:
            require_finite(kwargs["model"], state.global_step)


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
