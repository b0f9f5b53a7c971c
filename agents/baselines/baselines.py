"""Baselines without learning: neutral, random and fixed gates, and tuning of fixed gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from scipy.stats import qmc

from agents.episodes.agent import Agent
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import episode_seed, run_episodes
from lm.checks import COUNT, SEED, Bounds, require_integer, require_number, require_text
from lm.models.gate_names import GATE_NAMES, NEUTRAL_GATES
from tidal_gym.dynamics.actions import require_gates


class Fixed(Agent):
    """Agent with constant gates.

    Args:
        gates: (3,) for all rows, or (N, 3) for each row; in [0, 1].
        name: agent name.

    Raises:
        InvalidValueError: gates have a wrong shape or are out of range.
    """

    def __init__(self, gates: Sequence[float] | NDArray[np.floating], name: str = "fixed") -> None:
        shape = np.shape(gates) if np.ndim(gates) == 2 else (len(GATE_NAMES),)
        self.gates = require_gates(gates, (*shape[:-1], len(GATE_NAMES)), "gates").astype(np.float32)
        self.name = require_text("name", name)

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The gates (N, 3)."""
        return np.array(np.broadcast_to(self.gates, (len(observations), len(GATE_NAMES))))


class Neutral(Fixed):
    """Agent with neutral gates: plain sampling from the language model."""

    def __init__(self) -> None:
        super().__init__(NEUTRAL_GATES, "neutral")


class Random(Agent):
    """Agent with uniformly random gates at each token."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self._generator = np.random.default_rng(require_integer("seed", seed, SEED))

    def start(self, vector_env: VectorEnv, seed: int) -> None:
        """Seeds the gates with the episodes' seed, so that equal episodes get equal gates."""
        self._generator = np.random.default_rng((1, seed))  # differs from the episodes' random stream

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gates (N, 3)."""
        return self._generator.random((len(observations), len(GATE_NAMES)), dtype=np.float32)


@dataclass(frozen=True)
class TuningRound:
    """A round of :func:`tune_static`."""

    num_settings: int
    """Number of settings in this round."""
    episodes_per_setting: int
    """Number of episodes of each setting in this round, the same episodes for all settings."""
    best_gates: tuple[float, ...]
    """Setting with the best mean return over all its episodes so far."""
    best_return: float
    """Mean return of the best setting; biased upwards, since the same episodes selected it."""


@dataclass(frozen=True)
class StaticTuning:
    """Result of :func:`tune_static`."""

    gates: tuple[float, ...]
    """Gates of the best setting."""
    mean_return: float
    """Mean return of the best setting; biased upwards, since the same episodes selected it."""
    num_settings: int
    """Number of settings tried."""
    env_steps: int
    """Env steps (tokens) used, including those of rows that waited for others."""
    rounds: tuple[TuningRound, ...]
    """Rounds in order."""

    def agent(self) -> Fixed:
        """The best setting as an agent."""
        return Fixed(self.gates, "best static")

    def to_json(self) -> dict[str, Any]:
        """The result as plain data."""
        return asdict(self)


def tune_static(
    env: EnvConfig,
    *,
    num_settings: int = 256,
    env_steps: int = 200_000,
    num_envs: int = 64,
    keep: float = 0.25,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> StaticTuning:
    """Find the best fixed gates by successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943).

    All rounds cost about the same: each remaining setting runs the same episodes, then the best quarter continues with
    four times as many. The settings are the neutral one and a scrambled Sobol sequence, stretched by 5% and clipped, so
    that it includes gates of exactly 0 and 1.

    Args:
        env: environment to tune in, with its prompts.
        num_settings: number of settings to try, at least 1.
        env_steps: budget of env steps; exceeded by less than a batch of episodes per round.
        num_envs: number of parallel rows.
        keep: fraction of the settings that continues to the next round, in (0, 1).
        seed: seed of settings and episodes.
        progress: callback that receives the env steps used so far and the budget.

    Raises:
        InvalidValueError: an argument is out of its range.
    """
    require_integer("num_settings", num_settings, COUNT)
    require_integer("env_steps", env_steps, COUNT)
    require_integer("seed", seed, SEED)
    require_number("keep", keep, Bounds(0, 1, is_open_below=True, is_open_above=True))
    settings = _settings(num_settings, seed)
    sizes = [num_settings]
    while sizes[-1] * keep >= 2:
        sizes.append(int(np.ceil(sizes[-1] * keep)))
    vector_env = env.make(num_envs)
    sums = np.zeros(num_settings)
    counts = np.zeros(num_settings, int)
    alive = np.arange(num_settings)
    rounds: list[TuningRound] = []
    spent = next_episode = 0
    try:
        for number, size in enumerate(sizes):
            alive = alive[np.argsort(-(sums / np.maximum(counts, 1))[alive], kind="stable")][:size]
            share = (env_steps - spent) / (len(sizes) - number)
            episodes = max(1, int(share / (size * env.max_episode_steps)))
            pairs = [(setting, next_episode + episode) for episode in range(episodes) for setting in alive]
            next_episode += episodes
            for first in range(0, len(pairs), num_envs):
                batch = pairs[first : first + num_envs]
                # The last batch is filled up with repeats, whose results are ignored.
                chosen, numbers = np.array((batch * num_envs)[:num_envs]).T
                seeds = [episode_seed(seed, int(episode)) for episode in numbers]
                result = run_episodes(Fixed(settings[chosen]), vector_env, seeds)
                np.add.at(sums, chosen[: len(batch)], result.returns[: len(batch)])
                np.add.at(counts, chosen[: len(batch)], 1)
                spent += num_envs * result.tokens.shape[1]
                if progress is not None:
                    progress(spent, max(env_steps, spent))
            best = alive[np.argmax((sums / counts)[alive])]
            gates = tuple(settings[best].tolist())
            rounds.append(TuningRound(size, episodes, gates, float(sums[best] / counts[best])))
    finally:
        vector_env.close()
    return StaticTuning(rounds[-1].best_gates, rounds[-1].best_return, num_settings, spent, tuple(rounds))


def _settings(num_settings: int, seed: int) -> NDArray[np.float64]:
    """Settings (num_settings, 3), the neutral one first."""
    exponent = int(np.ceil(np.log2(max(num_settings, 2))))
    points = qmc.Sobol(len(GATE_NAMES), seed=seed).random_base2(exponent)[: num_settings - 1]
    return np.vstack((NEUTRAL_GATES, np.clip(1.1 * points - 0.05, 0.0, 1.0)))
