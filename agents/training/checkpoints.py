"""Checkpoints of a training run: written atomically; only the newest one is kept."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from agents.policy.observation_statistics import RunningStatistics
from lm.errors import CheckpointError, first_line
from lm.passed_files import read_object, record_from
from lm.runs.tensors.checksums import require_unchanged, write_checksums
from lm.runs.tensors.saved_state import SavedState
from lm.runs.whole_file import write_json
from lm.runs.whole_folder import write_whole_folder

MODEL_FILE = "ppo.zip"
"""SB3's file of the algorithm; ``PPO.load`` reads it, or ``PPOLagrangian.load`` for a constrained run."""
STATISTICS_FILE = "normalization.json"
PROGRESS_FILE = "progress.json"
FORMAT = 2
"""Format version of checkpoints. Versions before 2 lack the running episodes."""


@dataclass(frozen=True)
class CheckpointRecord:
    """Step and time of a training run at a checkpoint, and the identity of its language model."""

    step: int
    """Env steps so far."""
    seconds: float
    """Time spent training so far [s]."""
    model: str
    """Name of the language model."""
    fingerprint: str
    """Fingerprint of the language model's weights; see :func:`fingerprint_of`."""
    format: int = FORMAT
    """Format version of the checkpoint."""


def fingerprint_of(model: torch.nn.Module) -> str:
    """Fingerprint of a model's weights: twelve hexadecimal digits that do not depend on the data type."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.to("cpu", torch.bfloat16).view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:12]


def save_checkpoint(
    folder: Path, ppo: PPO, normalization: VecNormalize, progress: CheckpointRecord, state: SavedState
) -> None:
    """Writes a checkpoint named for its step into `folder`, then removes older ones."""
    target = folder / f"{progress.step:010d}"
    with write_whole_folder(target) as partial:
        ppo.save(partial / MODEL_FILE)
        statistics = {"observations": None, "returns": RunningStatistics.of(normalization.ret_rms).to_json()}
        if normalization.norm_obs:
            statistics["observations"] = RunningStatistics.of(normalization.obs_rms).to_json()
        write_json(partial / STATISTICS_FILE, statistics)
        state.save(partial)
        write_json(partial / PROGRESS_FILE, asdict(progress))
        write_checksums(partial, "*")
    for older in _checkpoints_in(folder):
        if older != target:
            shutil.rmtree(older)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in `folder`; None if there is none."""
    return max(_checkpoints_in(folder), default=None)


def read_progress(checkpoint: Path, *, model: str, fingerprint: str) -> CheckpointRecord:
    """Reads the record of a checkpoint.

    Raises:
        CheckpointError: the checkpoint is damaged, has another format, or belongs to another language model.
    """
    with damage_named(checkpoint):
        path = checkpoint / PROGRESS_FILE
        progress = record_from(CheckpointRecord, {"format": 1, **read_object(path)}, path)
    if progress.format != FORMAT:
        raise CheckpointError(
            f"The checkpoint {checkpoint} was written by another version of Tidal Gym, in format {progress.format}; "
            f"this one reads format {FORMAT}. Replace the run with `--overwrite`, or train into another folder."
        )
    with damage_named(checkpoint):
        require_unchanged(checkpoint)
    if progress.fingerprint != fingerprint:
        raise CheckpointError(
            f"The checkpoint {checkpoint} belongs to the model '{progress.model}' (weights {progress.fingerprint}), "
            f"but this run has the model '{model}' (weights {fingerprint}). Train into another folder."
        )
    return progress


def restore_checkpoint(checkpoint: Path, ppo: PPO, normalization: VecNormalize, progress: CheckpointRecord) -> None:
    """Restores weights, optimizer state, statistics and step count into a PPO of the same configuration.

    Reads only tensors and JSON, no pickles. Raises the errors of :func:`damage_named`.
    """
    ppo.set_parameters(str(checkpoint / MODEL_FILE), device=ppo.device)
    statistics = read_object(checkpoint / STATISTICS_FILE)
    RunningStatistics.from_json(statistics["returns"]).restore(normalization.ret_rms)
    if normalization.norm_obs:
        RunningStatistics.from_json(statistics["observations"]).restore(normalization.obs_rms)
    ppo.num_timesteps = progress.step


@contextmanager
def damage_named(checkpoint: Path) -> Iterator[None]:
    """Converts errors of reading a checkpoint into an error that names it.

    Raises:
        CheckpointError: the checkpoint is damaged, or belongs to another policy.
    """
    try:
        yield
    except _DAMAGES as error:
        raise CheckpointError(
            f"The checkpoint {checkpoint} is damaged or of another policy: {first_line(error).rstrip('.')}. "
            "It is the only one of its run: start again with `--overwrite`, or train into another folder."
        ) from error


_DAMAGES = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile, SafetensorError,
    pickle.UnpicklingError,
)  # fmt: skip


def _checkpoints_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
