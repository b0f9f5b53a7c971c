"""Configuration of training runs: environment, warm start, PPO, constraint and checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from agents.episodes.env_config import EnvConfig
from lm.checks import COUNT, LEARNING_RATE, SEED, SHARE, above, at_least, check_fields, require
from lm.errors import InvalidValueError
from lm.settings import settings_from


@dataclass(frozen=True)
class ConstraintConfig:
    """Configuration of PPO-Lagrangian (:class:`agents.PPOLagrangian`): cost limit and learning of its multiplier λ."""

    limit: float = 0.0
    """Limit of the mean sum of costs of an episode; 0 for costs that are relative to a bound."""
    initial_multiplier: float = 0.0
    """Initial value of the multiplier λ, at least 0."""
    multiplier_learning_rate: float = 0.05
    """Adam's learning rate for λ, above 0."""
    multiplier_gain: float = 0.0
    """Proportional gain: added to λ per unit of mean cost above the limit, at least 0; damps oscillations of λ."""
    gamma: float | None = None
    """Discount of costs per token, in [0, 1]. None: that of rewards."""
    gae_lambda: float | None = None
    """λ of generalised advantage estimation for costs, in [0, 1]. None: that of rewards."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            "ppo.constraint",
            limit=at_least(-1e6, 1e6),
            initial_multiplier=at_least(0, 1e6),
            multiplier_learning_rate=LEARNING_RATE,
            multiplier_gain=at_least(0, 1e6),
            gamma=SHARE,
            gae_lambda=SHARE,
        )


@dataclass(frozen=True)
class PPOConfig:
    """Configuration of proximal policy optimisation (arXiv:1707.06347). The defaults need no warm start."""

    policy: Literal["beta", "gaussian"] = "beta"
    """Action distribution: Beta on the action box, or Gaussian clipped to it (for comparison)."""
    reward: Literal["drawn", "expected"] = "drawn"
    """Reward to learn from: that of the drawn token, or its exact expectation before the draw (same mean, less
    variance)."""
    num_envs: int = 64
    """Number of parallel episodes, at least 1."""
    rollout_steps: int = 25
    """Steps of each env per rollout, at least 2; an update learns from num_envs * rollout_steps steps."""
    batch_size: int = 400
    """Minibatch size [steps], at least 2 and at most num_envs * rollout_steps."""
    epochs: int = 10
    """Passes over the steps of a rollout per update, at least 1."""
    learning_rate: float = 1e-3
    """Adam's learning rate at the first update, above 0."""
    learning_rate_schedule: Literal["linear", "constant"] = "linear"
    """Learning rate schedule: linear decay towards 0 over the run, or constant."""
    gamma: float = 0.3
    """Discount of rewards per token, in [0, 1]."""
    gae_lambda: float = 0.9
    """λ of generalised advantage estimation for rewards (arXiv:1506.02438), in [0, 1]."""
    clip_range: float = 0.2
    """Clip range of the probability ratio, above 0."""
    entropy_coefficient: float = 0.0
    """Weight of the policy's entropy in PPO's loss, at least 0."""
    value_coefficient: float = 0.5
    """Weight of the value loss in PPO's loss, at least 0."""
    max_gradient_norm: float = 0.5
    """Maximum norm of gradients, above 0."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of policy and value network, which are separate."""
    normalize_observations: bool = True
    """Whether to normalise observations by their running mean and standard deviation."""
    normalize_rewards: bool = True
    """Whether to divide rewards by the running standard deviation of the discounted return."""
    constraint: ConstraintConfig | None = None
    """Constraint on the environment's cost, for PPO-Lagrangian. None: costs are ignored."""

    def __post_init__(self) -> None:
        if self.constraint is not None:  # JSON gives mappings
            object.__setattr__(self, "constraint", settings_from(ConstraintConfig, "constraint", self.constraint))
        check_fields(
            self,
            "ppo",
            num_envs=COUNT,
            rollout_steps=at_least(2),
            batch_size=at_least(2),
            epochs=COUNT,
            learning_rate=LEARNING_RATE,
            gamma=SHARE,
            gae_lambda=SHARE,
            clip_range=above(0, 1e6),
            entropy_coefficient=at_least(0, 1e6),
            value_coefficient=at_least(0, 1e6),
            max_gradient_norm=above(0, 1e6),
            hidden_sizes=COUNT,
        )
        require("ppo.hidden_sizes", "must be one or more widths", self.hidden_sizes, len(self.hidden_sizes) > 0)
        if self.batch_size > self.steps_per_update:
            rule = f"must be at most `ppo.num_envs` * `ppo.rollout_steps` ({self.steps_per_update})"
            raise InvalidValueError("ppo.batch_size", rule, self.batch_size)

    @property
    def steps_per_update(self) -> int:
        """Env steps per update."""
        return self.num_envs * self.rollout_steps


@dataclass(frozen=True)
class WarmStartConfig:
    """Configuration of the warm start before PPO, which learns from exact expected rewards of candidate actions."""

    env_steps: int = 0
    """Env steps (tokens) of the warm start, part of `total_steps`; rounded up to whole rollouts. 0: no warm start."""
    candidates: int = 8
    """Number of candidate actions per state whose expected rewards are computed, at least 2. Half of them are sampled
    from the policy, the first of which is taken; the others are uniform. Each costs a forward pass."""
    rollout_steps: int = 25
    """Steps of each env per rollout of the warm start, at least 1; each rollout is followed by a fitting phase."""
    gradient_steps: int = 100
    """Number of minibatches per fitting phase, at least 1."""
    batch_size: int = 256
    """Minibatch size [states] of fitting phases, sampled from all visited states; at least 1."""
    learning_rate: float = 1e-3
    """Adam's initial learning rate in the warm start, above 0; decays linearly towards 0."""
    entropy_coefficient: float = 0.015
    """Weight of the policy's entropy [nats] in the warm start's objective, in standard deviations of the expected
    rewards, above 0; keeps the policy wide enough for exploration in PPO."""
    look_ahead: bool = False
    """Whether the warm start also learns the rewards after the next token, discounted by ``ppo.gamma``."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            "warm_start",
            env_steps=at_least(0),
            candidates=at_least(2),
            rollout_steps=COUNT,
            gradient_steps=COUNT,
            batch_size=COUNT,
            learning_rate=LEARNING_RATE,
            entropy_coefficient=above(0, 1e6),
        )


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of a training run of a controller."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """Environment to train in."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """PPO, the learning algorithm."""
    total_steps: int = 200_000
    """Total env steps (tokens) of the run, at least 1; rounded up to whole updates."""
    checkpoint_every: int = 25_600
    """Env steps between checkpoints, at least 1; rounded up to whole updates."""
    seed: int = 0
    """Seed of weights, action noise, prompts and token draws, at least 0."""
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    """Warm start before PPO."""

    def __post_init__(self) -> None:
        check_fields(self, total_steps=COUNT, checkpoint_every=COUNT, seed=SEED)
        if self.ppo.reward == "expected" and self.env.carl is not None:
            rule = 'must be "drawn" with a CARL reward, which depends on the whole episode'
            raise InvalidValueError("ppo.reward", rule, self.ppo.reward)
        if self.warm_start.env_steps > 0:
            if self.warm_start.env_steps > self.total_steps:
                rule = f"must be at most `total_steps` ({self.total_steps})"
                hint = "To shorten a preset's run, set this option as well as `--total_steps`."
                raise InvalidValueError("warm_start.env_steps", rule, self.warm_start.env_steps, hint)
            if self.ppo.policy != "beta" or self.env.carl is not None or self.ppo.constraint is not None:
                rule = "must be 0 for a Gaussian policy, with a CARL reward, and with a constraint"
                raise InvalidValueError("warm_start.env_steps", rule, self.warm_start.env_steps)
        if self.ppo.constraint is not None and self.env.cost is None:
            raise InvalidValueError("ppo.constraint", "must be None without an `env.cost`", self.ppo.constraint)

    @property
    def num_updates(self) -> int:
        """Number of PPO updates in the run."""
        return max(1, math.ceil((self.total_steps - self.warm_start.env_steps) / self.ppo.steps_per_update))
