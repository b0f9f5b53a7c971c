"""Trains a controller with Stable-Baselines3's PPO, and writes a controller's folder."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from safetensors import SafetensorError
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from agents.episodes.env_config import EnvConfig
from agents.episodes.expected_reward import ExpectedReward
from agents.episodes.sb3_adapter import VectorEnvToSB3
from agents.policy.controller import POLICIES, Controller, ControllerConfig, make_policy
from agents.policy.observation_statistics import ObservationNormalizer, RunningStatistics
from agents.training import run_state
from agents.training.checkpoints import (
    CheckpointRecord,
    damage_named,
    fingerprint_of,
    newest_checkpoint,
    read_progress,
    restore_checkpoint,
    save_checkpoint,
)
from agents.training.config import PPOConfig, TrainConfig
from agents.training.constrained_ppo.ppo_lagrangian import PPOLagrangian
from agents.training.learning_curve import LearningCurve, TrainingProgress, cut_learning_curve, read_learning_curve
from agents.training.warm_start.warm_start import WarmStart
from lm.default_dtype import float32_by_default
from lm.errors import CheckpointError, InvalidValueError
from lm.finite_weights import diverged, require_finite
from lm.memory import require_memory
from lm.runs.events import logged
from lm.runs.progress import Report, ignore
from lm.runs.run_folder import claimed
from lm.runs.stop import StopRequest
from lm.runs.tensors.saved_state import SavedState
from tidal_gym.envs.vector_env import TidalGatingVectorEnv

__all__ = ["EnvConfig", "PPOConfig", "TrainConfig", "TrainingProgress", "train"]

CHECKPOINT_FOLDER = "checkpoints"
CONTROLLER_FOLDER = "controller"
CURVE_FILE = "learning_curve.jsonl"
TENSORBOARD_FOLDER = "tensorboard"


@float32_by_default()
def train(
    config: TrainConfig,
    output_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> Controller:
    """Train a controller.

    The folder gets ``run.json``, ``learning_curve.jsonl`` (a :class:`TrainingProgress` per update),
    ``tensorboard/``, ``checkpoints/`` (the newest one) and, at the end, ``controller/``. A run that was killed loses
    what came after its last checkpoint and, resumed with the same number of threads on the same machine, does it again:
    it ends with the weights and the learning curve of the run that was never interrupted, bit for bit. SB3 seeds the
    global generators of torch, numpy and Python.

    Args:
        config: configuration of the training run.
        output_dir: folder of the run.
        resume: whether to continue the run in the folder from its last checkpoint.
        overwrite: whether to replace the run in the folder.
        progress: receives the metrics of each point of the learning curve, before its update.
        stop: stop request, which takes effect after the update under way. Finish: learning ends, and the run ends as
            completed with the policy learned so far, after at least one update. Cancel: a checkpoint is saved, from
            which the resumed run ends as the uninterrupted one would.

    Returns:
        The controller with the last policy, also saved in ``output_dir/controller``.

    Raises:
        OutputExistsError: `output_dir` holds a run, and neither `resume` nor `overwrite` is True.
        CheckpointError: the checkpoint is damaged, or belongs to another model or configuration; or the disk is full,
            in which case the last checkpoint is intact.
        DivergedError: the policy's weights have become NaN or infinite.
        RunCancelledError: `stop` requested a cancel.
    """
    vector_env = config.env.make(config.ppo.num_envs, expected_reward=config.ppo.reward == "expected")
    try:
        _require_trainable(config, vector_env)
        _require_memory(config, vector_env)
        with claimed(output_dir, "train", config, resume=resume, overwrite=overwrite) as folder:
            try:
                return _train_in_folder(config, folder, vector_env, logged(progress, folder), stop)
            except (OSError, SafetensorError) as error:
                last = newest_checkpoint(folder / CHECKPOINT_FOLDER)
                kept = f"The checkpoint {last} is intact; resume from it." if last else "There is no checkpoint yet."
                raise CheckpointError(f"The run in {folder} could not be written: {error}. {kept}") from error
    finally:
        vector_env.close()


def _require_trainable(config: TrainConfig, vector_env: VectorEnv) -> None:
    """Raises InvalidValueError if an environment lacks what the configuration needs."""
    for space in (vector_env.single_observation_space, vector_env.single_action_space):
        if not isinstance(space, Box) or len(space.shape) != 1 or not np.issubdtype(space.dtype, np.floating):
            rule = "must be an environment whose observations and actions are Boxes of numbers with one axis"
            raise InvalidValueError("env.id", rule, f"{config.env.id}, with the space {space}")
    if config.warm_start.env_steps > 0 and not isinstance(vector_env.unwrapped, TidalGatingVectorEnv):
        rule = f"must be 0 for {config.env.id}, which does not tell expected rewards"
        raise InvalidValueError("warm_start.env_steps", rule, config.warm_start.env_steps)


def _require_memory(config: TrainConfig, vector_env: VectorEnv) -> None:
    """Raises InvalidValueError if the memory does not hold the networks, a rollout, or the states of the warm start."""
    ppo, warm_start = config.ppo, config.warm_start
    numbers = math.prod(vector_env.single_observation_space.shape or ())
    gates = math.prod(vector_env.single_action_space.shape or ())

    def networks(widest: int) -> int:
        widths = [numbers, *(min(width, widest) for width in ppo.hidden_sizes)]
        return 2 * 16 * sum(width * following for width, following in pairwise(widths))  # as for Adam

    require_memory("ppo.hidden_sizes", max(ppo.hidden_sizes), "policy and value network", networks)
    row = 4 * ppo.num_envs * (numbers + gates + 6)  # float32; rewards, values, returns and the like
    require_memory("ppo.rollout_steps", ppo.rollout_steps, "a rollout", lambda steps: row * steps)
    if warm_start.env_steps > 0:
        seen, each = 8 * numbers, 4 * (gates + 1)  # of a state: two observations; of a candidate: action and reward
        rollout = ppo.num_envs * warm_start.rollout_steps
        require_memory(
            "warm_start.candidates", warm_start.candidates, "a rollout", lambda count: rollout * (seen + each * count)
        )
        state = seen + each * warm_start.candidates
        rollout = state * ppo.num_envs  # the states fill whole rollouts
        require_memory("warm_start.rollout_steps", warm_start.rollout_steps, "a rollout", lambda steps: rollout * steps)
        require_memory("warm_start.env_steps", warm_start.env_steps, "its states", lambda steps: state * steps)


def _train_in_folder(
    config: TrainConfig,
    output_dir: Path,
    vector_env: TidalGatingVectorEnv,
    progress: Report,
    stop: StopRequest | None,
) -> Controller:
    checkpoints = output_dir / CHECKPOINT_FOLDER
    is_gating = isinstance(vector_env.unwrapped, TidalGatingVectorEnv)
    fingerprint = fingerprint_of(vector_env.bundle.model) if is_gating else config.env.id
    checkpoint = newest_checkpoint(checkpoints)
    start = CheckpointRecord(step=0, seconds=0.0, model=config.env.model, fingerprint=fingerprint)
    if checkpoint is not None:
        start = read_progress(checkpoint, model=config.env.model, fingerprint=fingerprint)

    normalization = _wrap(vector_env, config.ppo)
    ppo = _make_ppo(config, normalization)
    curve = LearningCurve(output_dir / CURVE_FILE, config.total_steps, start.seconds, progress)
    run = _Run(ppo, normalization, vector_env)
    if config.warm_start.env_steps > 0:
        run.warm_start = WarmStart(ppo, normalization, vector_env, config.warm_start, config.seed, curve)
    if checkpoint is not None:
        run.restore(checkpoint, start)
    cut_learning_curve(output_dir / CURVE_FILE, start.step)
    saver = _BetweenUpdates(config.checkpoint_every, checkpoints, run, start, curve, stop)

    # TensorBoard only: SB3's default logger also prints to the terminal.
    tensorboard = output_dir / TENSORBOARD_FOLDER
    logger = Logger(str(tensorboard), [TensorBoardOutputFormat(str(tensorboard))])
    ppo.set_logger(logger)
    try:
        with suppress(_EndOfLearning):
            if run.warm_start is not None:
                curve.init_callback(ppo)
                run.warm_start.run(saver.save_or_end)
                run.warm_start = None
                saver.save()
            remaining = config.total_steps - ppo.num_timesteps
            if remaining > 0:
                ppo.learn(remaining, callback=CallbackList([curve, saver]), reset_num_timesteps=False)
        saver.save()
    except ValueError as error:
        if not str(error).startswith("Expected parameter"):  # torch's distributions, within an update
            raise
        raise diverged("the policy's distribution has parameters that it cannot have", ppo.num_timesteps) from error
    finally:
        logger.close()
    if stop is not None:
        stop.raise_if_cancelled()

    controller = _controller_of(config, ppo, normalization, curve)
    controller.save(output_dir / CONTROLLER_FOLDER, overwrite=True)
    return controller


def _wrap(vector_env: TidalGatingVectorEnv, config: PPOConfig) -> VecNormalize:
    adapter = VectorEnvToSB3(vector_env)
    monitored = VecMonitor(adapter)  # below ExpectedReward: the learning curve shows drawn rewards
    return VecNormalize(
        ExpectedReward(monitored, adapter) if config.reward == "expected" else monitored,
        norm_obs=config.normalize_observations,
        norm_reward=config.normalize_rewards,
        gamma=config.gamma,
    )


def _make_ppo(config: TrainConfig, env: VecNormalize) -> PPO:
    ppo = config.ppo
    # Runs with adjacent seeds share no episodes.
    seed = int(np.random.SeedSequence((config.seed, 0)).generate_state(1)[0]) >> 1
    algorithm: Callable[..., PPO] = PPO
    if ppo.constraint is not None:
        algorithm = partial(
            PPOLagrangian,
            cost_limit=ppo.constraint.limit,
            initial_multiplier=ppo.constraint.initial_multiplier,
            multiplier_learning_rate=ppo.constraint.multiplier_learning_rate,
            multiplier_gain=ppo.constraint.multiplier_gain,
            cost_gamma=ppo.constraint.gamma,
            cost_gae_lambda=ppo.constraint.gae_lambda,
        )
    return algorithm(
        POLICIES[ppo.policy],
        env,
        learning_rate=_learning_rate(config),
        n_steps=ppo.rollout_steps,
        batch_size=ppo.batch_size,
        n_epochs=ppo.epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.entropy_coefficient,
        vf_coef=ppo.value_coefficient,
        max_grad_norm=ppo.max_gradient_norm,
        # The fused step updates all parameters in one pass; without it, updates take a tenth of the learning time.
        policy_kwargs={"net_arch": list(ppo.hidden_sizes), "optimizer_kwargs": {"fused": True}},
        seed=seed,
        device="cpu",  # faster than a GPU for networks of this size
    )


@dataclass(frozen=True)
class LinearLearningRate:
    """Learning rate schedule: linear from `initial` at the first update to `initial / num_updates` at the last.

    SB3 counts the steps of an update as done before it learns from them, so its own linear schedule would have a
    learning rate of 0 in the last update.
    """

    initial: float
    """Learning rate in the first update."""
    num_updates: int
    """Number of PPO updates in the run."""
    share: float = 1.0
    """Fraction of the run's steps that PPO learns from, above 0; the warm start uses the others."""

    def __call__(self, progress_remaining: float) -> float:
        """Learning rate when the given fraction of the run remains after the current rollout."""
        return self.initial * min(1.0, max(0.0, progress_remaining) / self.share + 1.0 / self.num_updates)


def _learning_rate(config: TrainConfig) -> float | LinearLearningRate:
    if config.ppo.learning_rate_schedule == "constant":
        return config.ppo.learning_rate
    share = max(1, config.total_steps - config.warm_start.env_steps) / config.total_steps
    return LinearLearningRate(config.ppo.learning_rate, config.num_updates, share)


@dataclass
class _Run:
    """The state of a training run that checkpoints save and restore."""

    ppo: PPO
    normalization: VecNormalize
    vector_env: TidalGatingVectorEnv
    warm_start: WarmStart | None = None
    """Warm start; None if it is finished or there is none."""

    def save(self, folder: Path, progress: CheckpointRecord) -> None:
        """Writes a checkpoint."""
        state = SavedState.of_parts(
            run=run_state.state_of(self.ppo, self.normalization, self.vector_env),
            warm_start=SavedState() if self.warm_start is None else self.warm_start.state(),
        )
        save_checkpoint(folder, self.ppo, self.normalization, progress, state)

    def restore(self, checkpoint: Path, progress: CheckpointRecord) -> None:
        """Restores a checkpoint into a new run."""
        self.normalization.reset()  # allocates the episodes' state, which is then overwritten
        with damage_named(checkpoint):
            restore_checkpoint(checkpoint, self.ppo, self.normalization, progress)
            state = SavedState.load(checkpoint)
            warm_start = state.part("warm_start")
            if self.warm_start is not None and warm_start.tensors:
                self.warm_start.restore(warm_start)
            else:
                self.warm_start = None
            run_state.restore(state.part("run"), self.ppo, self.normalization, self.vector_env)


class _EndOfLearning(Exception):
    """Ends SB3's learning between two updates, where it has no other way out."""


class _BetweenUpdates(BaseCallback):
    """Callback that saves a checkpoint at least every `every` steps, and ends the learning when `stop` requests it."""

    def __init__(
        self,
        every: int,
        folder: Path,
        run: _Run,
        start: CheckpointRecord,
        curve: LearningCurve,
        stop: StopRequest | None,
    ) -> None:
        super().__init__()
        self.stop = stop
        self.every = every
        self.folder = folder
        self.run = run
        self.saved = start
        self.curve = curve

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        # Called after an update, when weights, optimizer and statistics belong to the same step.
        require_finite(self.run.ppo.policy, self.run.ppo.num_timesteps)
        self.save_or_end()

    def save_or_end(self) -> None:
        """Saves a checkpoint if it is due, and ends the learning if that is requested; called between two updates.

        Raises:
            _EndOfLearning: the learning is to end.
        """
        steps = self.run.ppo.num_timesteps
        if steps - self.saved.step >= self.every:
            self.save()
        if self.stop is not None and (self.stop.is_cancelled or (self.stop.is_requested and steps > 0)):
            raise _EndOfLearning

    def save(self) -> None:
        """Saves a checkpoint, unless there are no steps since the last one."""
        step = self.run.ppo.num_timesteps
        require_finite(self.run.ppo.policy, step)
        if step > self.saved.step:
            saved = CheckpointRecord(step, self.curve.seconds, self.saved.model, self.saved.fingerprint)
            self.run.save(self.folder, saved)
            self.saved = saved


def _controller_of(config: TrainConfig, ppo: PPO, normalization: VecNormalize, curve: LearningCurve) -> Controller:
    described = ControllerConfig(
        policy=config.ppo.policy,
        hidden_sizes=config.ppo.hidden_sizes,
        observation_size=ppo.observation_space.shape[0],
        action_low=tuple(ppo.action_space.low.tolist()),
        action_high=tuple(ppo.action_space.high.tolist()),
        normalizes_observations=config.ppo.normalize_observations,
        training=asdict(config),
        versions={name: version(name) for name in ("torch", "gymnasium", "stable-baselines3")},
    )
    policy = make_policy(described)
    policy.load_state_dict(ppo.policy.state_dict())
    normalizer = None
    if normalization.norm_obs:
        statistics = RunningStatistics.of(normalization.obs_rms)
        normalizer = ObservationNormalizer(statistics, normalization.epsilon, normalization.clip_obs)
    metrics = {"step": ppo.num_timesteps, "seconds": curve.seconds}
    if points := read_learning_curve(curve.path):
        metrics = asdict(points[-1]) | metrics
    return Controller(described, policy, normalizer, metrics)
