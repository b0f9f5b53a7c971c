"""A trained controller: its folder, which contains no pickles, and its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.episodes.agent import Agent
from agents.policy.beta_policy import BetaPolicy
from agents.policy.gaussian_policy import GaussianPolicy
from agents.policy.observation_statistics import ObservationNormalizer, StatisticsFile
from lm.default_dtype import float32_by_default
from lm.errors import CheckpointError, InvalidValueError, OutputExistsError
from lm.passed_files import read_object, record_from
from lm.paths import user_path
from lm.runs.tensors.checksums import require_unchanged, write_checksums
from lm.runs.tensors.tensor_files import write_tensors
from lm.runs.whole_file import write_json
from lm.runs.whole_folder import write_whole_folder

FORMAT_VERSION = 1
CONFIG_FILE = "controller.json"
WEIGHTS_FILE = "policy.safetensors"
STATISTICS_FILE = "observation_statistics.json"
METRICS_FILE = "metrics.json"

POLICIES: dict[str, type[ActorCriticPolicy]] = {"beta": BetaPolicy, "gaussian": GaussianPolicy}


@dataclass(frozen=True)
class ControllerConfig:
    """Description of a controller in its folder: form of the policy, training configuration and versions."""

    policy: Literal["beta", "gaussian"]
    """Action distribution of the policy."""
    hidden_sizes: tuple[int, ...]
    """Widths of the hidden layers of policy and value network."""
    observation_size: int
    """Size of an observation."""
    action_low: tuple[float, ...]
    """Lower bounds of the action, per gate."""
    action_high: tuple[float, ...]
    """Upper bounds of the action, per gate."""
    normalizes_observations: bool
    """Whether the policy was trained on normalised observations."""
    training: Mapping[str, Any]
    """Configuration of the training run, as a record."""
    versions: Mapping[str, str]
    """Library versions of the training run, as a record."""

    def __post_init__(self) -> None:
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise InvalidValueError("hidden_sizes", "must be one or more positive widths", self.hidden_sizes)
        if self.observation_size < 1:
            raise InvalidValueError("observation_size", "must be at least 1", self.observation_size)
        pairs = list(zip(self.action_low, self.action_high, strict=False))
        if len(self.action_low) != len(self.action_high) or not pairs or any(low >= high for low, high in pairs):
            rule = "must hold as many bounds as `action_high`, each below the one there"
            raise InvalidValueError("action_low", rule, (self.action_low, self.action_high))


@float32_by_default()
def make_policy(config: ControllerConfig) -> ActorCriticPolicy:
    """Makes an untrained policy from a controller's description."""
    observation_space = spaces.Box(-np.inf, np.inf, (config.observation_size,), np.float32)
    action_space = spaces.Box(np.array(config.action_low, np.float32), np.array(config.action_high, np.float32))
    policy_class = POLICIES[config.policy]
    policy = policy_class(observation_space, action_space, lambda _: 0.0, net_arch=list(config.hidden_sizes))
    policy.set_training_mode(False)
    return policy


class Controller(Agent):
    """Agent with a trained policy and the normalisation of its observations.

    The folder contains ``policy.safetensors``, ``observation_statistics.json`` (if observations are normalised),
    ``controller.json`` and ``metrics.json``.

    Args:
        config: description of the controller.
        policy: SB3 policy that matches the description.
        normalizer: normaliser of the observations, or None.
        metrics: metrics of the training run.
    """

    name = "controller"

    def __init__(
        self,
        config: ControllerConfig,
        policy: ActorCriticPolicy,
        normalizer: ObservationNormalizer | None,
        metrics: Mapping[str, Any],
    ) -> None:
        self.config = config
        self.policy = policy
        self.normalizer = normalizer
        self.metrics = dict(metrics)

    def act(self, observations: ArrayLike, *, deterministic: bool = True) -> NDArray[np.float32]:
        """Gates (N, 3) for raw observations (N, 64).

        Args:
            observations: observations of the environment, before normalisation.
            deterministic: whether to return the mean action; else samples with torch's global generator.

        Raises:
            InvalidValueError: the observations have a wrong shape.
        """
        batch = np.asarray(observations, dtype=np.float32)
        if batch.ndim != 2 or batch.shape[1] != self.config.observation_size:
            raise InvalidValueError("observations", f"must have shape (N, {self.config.observation_size})", batch.shape)
        if self.normalizer is not None:
            batch = self.normalizer.normalize(batch)
        actions, _ = self.policy.predict(batch, deterministic=deterministic)
        return actions

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Writes the controller's folder atomically.

        Raises:
            OutputExistsError: the folder contains a controller, and `overwrite` is False.
        """
        folder = user_path(folder)
        if folder.exists() and not overwrite:
            raise OutputExistsError(f"{folder} already exists. Choose another folder, or ask to overwrite it.")
        with write_whole_folder(folder) as partial:
            write_tensors(partial / WEIGHTS_FILE, self.policy.state_dict())
            write_checksums(partial)
            write_json(partial / CONFIG_FILE, {"format_version": FORMAT_VERSION, **vars(self.config)})
            write_json(partial / METRICS_FILE, self.metrics)
            if self.normalizer is not None:
                statistics = self.normalizer.statistics.to_json()
                limits = {"epsilon": self.normalizer.epsilon, "clip": self.normalizer.clip}
                write_json(partial / STATISTICS_FILE, statistics | limits)

    @classmethod
    def load(cls, folder: str | Path) -> Controller:
        """Reads a controller's folder, or the controller in a training run's folder.

        Raises:
            CheckpointError: there is no controller, it is damaged, or has a later format; names file and reason.
        """
        folder = user_path(folder)
        if not (folder / CONFIG_FILE).is_file() and (folder / "controller" / CONFIG_FILE).is_file():
            folder = folder / "controller"
        if not (folder / CONFIG_FILE).is_file():
            raise CheckpointError(
                f"{folder} holds no controller: there is no {CONFIG_FILE}. Make one with `tidal train`."
            )
        config = _read_config(folder / CONFIG_FILE)
        policy = _read_policy(folder / WEIGHTS_FILE, config)
        normalizer = None
        if (folder / STATISTICS_FILE).is_file():
            normalizer = _read_normalizer(folder / STATISTICS_FILE, config.observation_size)
        elif config.normalizes_observations:
            raise CheckpointError(
                f"{folder} lacks {STATISTICS_FILE}, and its policy was trained on normalised observations."
            )
        return cls(config, policy, normalizer, read_object(folder / METRICS_FILE))


def _read_config(path: Path) -> ControllerConfig:
    content = read_object(path)
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path} has format version {version!r}, and this release reads {FORMAT_VERSION}.")
    return record_from(ControllerConfig, content, path)


def _read_policy(path: Path, config: ControllerConfig) -> ActorCriticPolicy:
    """The policy with its weights; shapes in the file are checked before the policy is built."""
    require_unchanged(path)
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
        if misfit := _misfit(config, shapes):
            raise CheckpointError(f"{path} does not fit the policy of {CONFIG_FILE}: {misfit}.")
        policy = make_policy(config)
        policy.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} does not fit the policy of {CONFIG_FILE}: {error}") from error
    if not all(bool(weights.isfinite().all()) for weights in policy.state_dict().values()):
        raise CheckpointError(f"{path} is damaged: it holds weights that are not finite.")
    return policy


def _misfit(config: ControllerConfig, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Difference between the described shapes and those of the weights; empty if they agree."""
    width = config.observation_size
    for layer, size in enumerate(config.hidden_sizes):
        for network in ("policy_net", "value_net"):
            name = f"mlp_extractor.{network}.{2 * layer}.weight"  # an activation follows each layer
            if shapes.get(name) != (size, width):
                return f"`{name}` should have the shape {(size, width)} and has {shapes.get(name)}"
        width = size
    outputs = len(config.action_low) * (2 if config.policy == "beta" else 1)
    if shapes.get("action_net.weight") != (outputs, width):
        return f"`action_net.weight` should have the shape {(outputs, width)} and has {shapes.get('action_net.weight')}"
    return ""


def _read_normalizer(path: Path, observation_size: int) -> ObservationNormalizer:
    statistics = record_from(StatisticsFile, read_object(path), path)
    for values in (statistics.mean, statistics.variance):
        if len(values) != observation_size:
            raise CheckpointError(
                f"{path} has statistics of shape {(len(values),)} for {observation_size} observations."
            )
    return statistics.normalizer()
