"""Configuration of the benchmark."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from typing import Annotated

from agents.baselines.decoder_names import DECODERS
from agents.episodes.env_config import RewardInFiles
from agents.evaluation.text_measures_config import FEWEST_TEXTS, TextMeasuresConfig
from agents.training.config import TrainConfig
from lm.checks import COUNT, SEED, at_least, check_fields, require_integer
from lm.errors import InvalidValueError
from lm.memory import require_memory
from lm.model_names import resolve
from lm.passed_files import BundledInFiles, one_of


@dataclass(frozen=True)
class BenchmarkConfig:
    """Configuration of a benchmark: learned controllers against tuned baselines and the one-step oracle."""

    training: TrainConfig = field(default_factory=TrainConfig)
    """Training configuration of the controllers, whose `seed` is the first training seed; also a YAML file."""
    model: BundledInFiles | None = None
    """Language model: a bundled name, a folder or a hub id. None: that of `training`."""
    reward: RewardInFiles | None = None
    """Name of the reward. None: that of `training`."""
    total_steps: int | None = None
    """Env steps (tokens) to train each controller with. None: those of `training`. A warm start keeps its share."""
    seeds: int = 10
    """Number of controllers, trained with consecutive seeds, at least 1."""
    decoders: tuple[str, ...] = DECODERS
    """Decoding methods to tune, in addition to static gates."""
    static_settings: int = 256
    """Number of static gate settings to try, at least 1."""
    tuning_steps: int | None = None
    """Env steps (tokens) to tune each baseline with, at least 1. None: as many as for a controller."""
    tuning_seed: int = 0
    """Seed of the settings tried in tuning and of their episodes, at least 0."""
    episodes: int = 512
    """Held-out episodes of each agent, at least 1."""
    evaluation_seed: int = 1
    """Seed of the held-out episodes, at least 0."""
    heldout_prompts: Annotated[str, one_of("train", "heldout")] = "heldout"
    """"heldout" (bundled openings), or a text file with one prompt a line."""
    oracle_episodes: int = 128
    """Held-out episodes, the first ones, that the slow one-step oracle is evaluated on. 0 skips the oracle."""
    oracle_levels: tuple[int, int, int] = (9, 3, 5)
    """Grid of the oracle: number of values of creativity, focus and stability, at least 2 each."""
    frozen_episodes: int = 256
    """Held-out episodes, the first ones, that each controller is evaluated on with one gate frozen. 0 skips this."""

    text_episodes: int = 512
    """Held-out episodes, the first ones, whose texts are compared with human text, at least 64. 0 skips this."""
    text: TextMeasuresConfig = field(default_factory=TextMeasuresConfig)
    """Judge model and human text of the text measures."""
    workers: int | None = None
    """Number of worker processes, at least 1. None: the number of cores. The results do not depend on it."""

    def __post_init__(self) -> None:
        counts = ("total_steps", "seeds", "static_settings", "tuning_steps", "episodes", "workers")
        parts = ("oracle_episodes", "frozen_episodes", "text_episodes")
        check_fields(
            self,
            **dict.fromkeys(counts, COUNT),
            **dict.fromkeys(parts, at_least(0)),
            tuning_seed=SEED,
            evaluation_seed=SEED,
            oracle_levels=at_least(2),
        )
        settings, actions = self.static_settings, math.prod(self.oracle_levels)
        require_memory("static_settings", settings, "their records", lambda count: 64 * count)
        require_memory("oracle_levels", actions, "the actions of its grid", lambda count: 12 * count)
        require_integer("seeds", self.seeds, at_least(1, SEED.most - self.training.seed))
        given = {name: getattr(self, name) for name in ("model", "reward") if getattr(self, name) is not None}
        object.__setattr__(self, "training", replace(self.training, env=replace(self.training.env, **given)))
        if self.total_steps is not None:
            object.__setattr__(self, "training", _with_total_steps(self.training, self.total_steps))
        if unknown := set(self.decoders) - set(DECODERS):
            rule = f"must be among {', '.join(DECODERS)}"
            raise InvalidValueError("decoders", rule, ", ".join(sorted(unknown)))
        for name in parts:
            object.__setattr__(self, name, min(getattr(self, name), self.episodes))
        if 0 < self.text_episodes < FEWEST_TEXTS:
            rule = f"must be 0 or at least {FEWEST_TEXTS}, as many as there are `episodes`"
            raise InvalidValueError("text_episodes", rule, self.text_episodes)
        if self.text_episodes > 0 and _same_model(self.text.judge, self.training.env.model):
            hint = "A model prefers its own texts to human ones. Choose another judge, or set `text_episodes` to 0."
            raise InvalidValueError("text.judge", "must not be the model under test", repr(self.text.judge), hint)

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """Training seed of each controller."""
        return tuple(range(self.training.seed, self.training.seed + self.seeds))

    @property
    def learning_steps(self) -> int:
        """Upper bound of a controller's training env steps: warm start and PPO end with whole rollouts."""
        ppo, warm_start = self.training.ppo, self.training.warm_start
        rollout = warm_start.rollout_steps if warm_start.env_steps > 0 else ppo.rollout_steps
        return self.training.total_steps + ppo.num_envs * rollout + ppo.steps_per_update

    @property
    def baseline_steps(self) -> int:
        """Lower bound of the env steps that each baseline is tuned with."""
        return self.learning_steps if self.tuning_steps is None else self.tuning_steps

    def env_steps_of_episodes(self, episodes: int) -> int:
        """Upper bound of the env steps of a number of episodes."""
        return episodes * self.training.env.max_episode_steps

    def shortened(self) -> BenchmarkConfig:
        """The same comparison in a few minutes, too short for conclusions; baselines keep their share of steps."""
        total_steps = min(self.training.total_steps, 40_000)
        share = total_steps / self.training.total_steps
        return replace(
            self,
            total_steps=total_steps,
            tuning_steps=None if self.tuning_steps is None else max(1, round(share * self.tuning_steps)),
            seeds=min(self.seeds, 2),
            static_settings=min(self.static_settings, 64),
            episodes=min(self.episodes, 128),
            oracle_episodes=min(self.oracle_episodes, 16),
            frozen_episodes=min(self.frozen_episodes, 64),
            text_episodes=min(self.text_episodes, 128),
        )


@dataclass(frozen=True)
class BenchmarkStageConfig:
    """Configuration of one stage of a benchmark."""

    benchmark: BenchmarkConfig
    """Configuration of the benchmark."""
    stage: str
    """Name of the stage, see :func:`tidal.benchmark.stages.stages_of`."""


def _same_model(one: str, other: str) -> bool:
    return os.path.realpath(resolve(one)) == os.path.realpath(resolve(other))


def _with_total_steps(training: TrainConfig, total_steps: int) -> TrainConfig:
    share = training.warm_start.env_steps / training.total_steps
    warm_start = replace(training.warm_start, env_steps=int(share * total_steps))
    return replace(training, total_steps=total_steps, warm_start=warm_start)
