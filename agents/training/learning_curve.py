"""The learning curve of a training run: one point per update."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from agents.training.constrained_ppo.ppo_lagrangian import PPOLagrangian
from lm.errors import CheckpointError
from lm.models.gate_names import GATE_NAMES
from lm.passed_files import read_lines
from lm.runs.progress import Progress, Report, ignore
from lm.runs.whole_file import append_json_line, write_json_lines


def action_names(size: int) -> tuple[str, ...]:
    """Names of the entries of an action: the gates, or numbers in environments without gates."""
    return GATE_NAMES if size == len(GATE_NAMES) else tuple(map(str, range(size)))


@dataclass(frozen=True)
class TrainingProgress:
    """A point of the learning curve: statistics of the rollout before an update."""

    step: int
    """Env steps so far."""
    total_steps: int
    """Env steps of the whole run."""
    episode_reward: float | None
    """Mean sum of rewards, with exploration, of the episodes that ended in the rollout; None if none ended."""
    episode_length: float | None
    """Mean length of the episodes that ended in the rollout [tokens]; None if none ended."""
    gate_means: tuple[float, ...]
    """Mean of the deterministic gates over the rollout's states."""
    gate_stds: tuple[float, ...]
    """Standard deviation of the deterministic gates over the rollout's states."""
    seconds: float
    """Time spent training so far [s]."""
    episode_cost: float | None = None
    """Mean sum of costs of the episodes that ended in the rollout; None if none ended or without a constraint."""
    multiplier: float | None = None
    """Lagrange multiplier λ of the constraint before the update; None without a constraint."""

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of a progress report: those that are known, the speed, and the mean of each gate by name."""
        known = {name: getattr(self, name) for name in ("episode_reward", "episode_cost", "multiplier")}
        gates = dict(zip(action_names(len(self.gate_means)), self.gate_means, strict=True))
        speed = {"steps_per_second": self.step / max(self.seconds, 1e-9)}
        return {name: value for name, value in known.items() if value is not None} | speed | gates


class LearningCurve(BaseCallback):
    """Callback that writes a JSON line per rollout to a file, and passes it to TensorBoard and to the run's progress.

    Args:
        path: file to write.
        total_steps: env steps of the whole run.
        seconds_before: training time before this process resumed the run [s].
        report: receives the progress with the metrics of each point.
    """

    newest: TrainingProgress | None = None
    """Newest point of the learning curve."""

    def __init__(self, path: Path, total_steps: int, seconds_before: float, report: Report = ignore) -> None:
        super().__init__()
        self.path = path
        self.total_steps = total_steps
        self.report = report
        self._started = time.perf_counter() - seconds_before
        self._rewards: list[float] = []
        self._lengths: list[int] = []

    @property
    def seconds(self) -> float:
        """Time spent training so far [s]."""
        return time.perf_counter() - self._started

    def _on_step(self) -> bool:
        self.add_episodes(self.locals["dones"], self.locals["infos"])
        return True

    def _on_rollout_end(self) -> None:
        observations = self.locals["rollout_buffer"].observations  # (T, N, size), normalised
        self.add_point(observations.reshape(-1, observations.shape[-1]), "Training the controller", self.total_steps)

    def add_episodes(self, dones: NDArray[np.bool_], infos: Sequence[Mapping[str, Any]]) -> None:
        """Records the episodes that ended in a step, from the infos of ``VecMonitor``."""
        for row in np.flatnonzero(dones).tolist():
            self._rewards.append(float(infos[row]["episode"]["r"]))
            self._lengths.append(int(infos[row]["episode"]["l"]))

    def add_point(self, observations: NDArray[np.float32], stage: str, total: int) -> None:
        """Writes and reports a point: episodes recorded since the last one, and gates in states.

        Args:
            observations: (B, size) normalised observations of the states.
            stage: stage of the run, for the report.
            total: env steps at which the stage ends.
        """
        with torch.no_grad():
            batch = torch.as_tensor(observations, device=self.model.device)
            gates = self.model.policy.get_distribution(batch).get_actions(deterministic=True).cpu().numpy()
        gates = np.clip(gates, self.model.action_space.low, self.model.action_space.high)  # (B, G)
        constrained = self.model if isinstance(self.model, PPOLagrangian) else None
        episode_costs = constrained.episode_costs if constrained else []
        self.newest = TrainingProgress(
            step=self.model.num_timesteps,
            total_steps=self.total_steps,
            episode_reward=float(np.mean(self._rewards)) if self._rewards else None,
            episode_length=float(np.mean(self._lengths)) if self._lengths else None,
            gate_means=tuple(gates.mean(axis=0).tolist()),
            gate_stds=tuple(gates.std(axis=0).tolist()),
            seconds=self.seconds,
            episode_cost=float(np.mean(episode_costs)) if episode_costs else None,
            multiplier=constrained.multiplier.value if constrained else None,
        )
        self._rewards, self._lengths = [], []
        append_json_line(self.path, asdict(self.newest))
        named = zip(action_names(gates.shape[1]), self.newest.gate_means, self.newest.gate_stds, strict=True)
        for name, mean, deviation in named:
            self.logger.record(f"gates/{name}_mean", mean)
            self.logger.record(f"gates/{name}_std", deviation)
        self.report(Progress(stage, self.newest.step, total, "env steps", self.newest.metrics))


def read_learning_curve(path: Path) -> list[TrainingProgress]:
    """Reads the points of a learning curve; skips an incomplete last line.

    Raises:
        CheckpointError: the file is damaged.
    """
    return read_lines(TrainingProgress, path)


def cut_learning_curve(path: Path, step: int) -> None:
    """Removes the points after `step`, which a run resumed from the checkpoint of that step writes again.

    Raises:
        CheckpointError: the file is damaged, or lacks the point of `step`; it is left as it is.
    """
    points = [point for point in read_learning_curve(path) if point.step <= step]
    if step > 0 and (not points or points[-1].step < step):
        raise CheckpointError(f"{path} is damaged: it lacks the point of the checkpoint at step {step}.")
    write_json_lines(path, [asdict(point) for point in points])
