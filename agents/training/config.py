"""What a training run is: environment, PPO and bookkeeping."""

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
    """What an episode may cost, and how λ, the weight of the costs, is learned (:class:`agents.PPOLagrangian`)."""

    limit: float = 0.0
    """Most that the costs of an episode may sum to, in the mean; 0 for the costs that are counted from a bound."""
    initial_multiplier: float = 0.0
    """λ at the beginning, at least 0."""
    multiplier_learning_rate: float = 0.05
    """Adam's learning rate for λ, above 0."""
    multiplier_gain: float = 0.0
    """What λ gets besides for a unit of mean cost above the limit, at least 0: it keeps λ from swinging."""
    gamma: float | None = None
    """Discount of costs per token, in [0, 1]; None: that of rewards."""
    gae_lambda: float | None = None
    """λ of generalised advantage estimation for costs, in [0, 1]; None: that of rewards."""

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
    """Proximal policy optimisation (arXiv:1707.06347). The defaults are those of the preset `plain`."""

    policy: Literal["beta", "gaussian"] = "beta"
    """Action distribution: Beta on the box itself, or a Gaussian clipped to it (for comparison)."""
    reward: Literal["drawn", "expected"] = "drawn"
    """What is learned from: the reward of the token drawn, or its exact expectation before the draw, which has the same
    mean and less noise."""
    num_envs: int = 64
    """Episodes that run side by side, at least 1."""
    rollout_steps: int = 25
    """Steps of each env between updates, at least 2; one update sees num_envs * rollout_steps of them."""
    batch_size: int = 400
    """Steps in a minibatch, at least 2 and at most those of one update."""
    epochs: int = 10
    """Passes over the steps of an update, at least 1."""
    learning_rate: float = 1e-3
    """Adam's learning rate at the first update, above 0."""
    learning_rate_schedule: Literal["linear", "constant"] = "linear"
    """Whether the learning rate falls towards 0 over the run."""
    gamma: float = 0.3
    """Discount per token, in [0, 1]."""
    gae_lambda: float = 0.9
    """λ of generalised advantage estimation (arXiv:1506.02438), in [0, 1]."""
    clip_range: float = 0.2
    """Clipping of the probability ratio, above 0."""
    entropy_coefficient: float = 0.0
    """Weight of the policy's entropy in the loss, at least 0."""
    value_coefficient: float = 0.5
    """Weight of the value loss, at least 0."""
    max_gradient_norm: float = 0.5
    """Norm to which gradients are clipped, above 0."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers, of the policy and of the value network each."""
    normalize_observations: bool = True
    """Whether observations are shifted and scaled by their running mean and standard deviation."""
    normalize_rewards: bool = True
    """Whether rewards are divided by the running standard deviation of the discounted return."""
    constraint: ConstraintConfig | None = None
    """Limit on the environment's cost, held by PPO-Lagrangian; None: costs change nothing."""

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
        """Env steps that one update learns from."""
        return self.num_envs * self.rollout_steps


@dataclass(frozen=True)
class WarmStartConfig:
    """What comes before PPO: learning from exact expected rewards of actions that are not taken."""

    env_steps: int = 0
    """Env steps (tokens) spent on it, out of the run's `total_steps`; rounded up to whole rollouts; 0 leaves it out."""
    candidates: int = 8
    """Actions whose expected reward is asked for in every state, at least 2. Half of them are drawn from the policy,
    and the first of these is taken; the others are uniform. Each costs a forward pass of the gated stream."""
    rollout_steps: int = 25
    """Steps of each env between two phases of fitting, at least 1."""
    gradient_steps: int = 100
    """Minibatches of a phase of fitting, at least 1."""
    batch_size: int = 256
    """States in a minibatch, drawn from all that were met so far; at least 1."""
    learning_rate: float = 1e-3
    """Adam's learning rate at first, above 0; falls towards 0 over the warm start."""
    temperature: float = 0.015
    """What a nat of the policy's entropy is worth, in standard deviations of the expected rewards that were asked for;
    above 0: how much is left for PPO to explore."""
    look_ahead: bool = False
    """Whether it learns as well what follows the next token until the episode ends, discounted by ``ppo.gamma``."""

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
            temperature=above(0, 1e6),
        )


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The environment."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """The learning algorithm."""
    total_steps: int = 200_000
    """Env steps (tokens) in all, at least 1; rounded up to whole updates."""
    checkpoint_every: int = 25_600
    """Env steps between checkpoints, at least 1; rounded up to whole updates."""
    seed: int = 0
    """Seed of weights, action noise, prompts and token draws, at least 0."""
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    """What comes before PPO."""

    def __post_init__(self) -> None:
        check_fields(self, total_steps=COUNT, checkpoint_every=COUNT, seed=SEED)
        if self.ppo.reward == "expected" and self.env.carl is not None:
            rule = 'must be "drawn" where coherence is paid: a token\'s CARL reward hangs on the whole episode'
            raise InvalidValueError("ppo.reward", rule, self.ppo.reward)
        if self.warm_start.env_steps > 0:
            if self.warm_start.env_steps > self.total_steps:
                rule = f"must be at most `total_steps` ({self.total_steps})"
                hint = "A preset's warm start is shortened by this option, beside `--total_steps`."
                raise InvalidValueError("warm_start.env_steps", rule, self.warm_start.env_steps, hint)
            if self.ppo.policy != "beta" or self.env.carl is not None or self.ppo.constraint is not None:
                rule = "must be 0 for a Gaussian policy, where coherence is paid, and under a constraint"
                raise InvalidValueError("warm_start.env_steps", rule, self.warm_start.env_steps)
        if self.ppo.constraint is not None and self.env.cost is None:
            raise InvalidValueError("ppo.constraint", "must be None without an `env.cost`", self.ppo.constraint)

    @property
    def num_updates(self) -> int:
        """Updates of PPO in the whole run."""
        return max(1, math.ceil((self.total_steps - self.warm_start.env_steps) / self.ppo.steps_per_update))
