"""Agents that learn nothing: neutral, random and fixed gates, and the best fixed gates that tuning finds."""

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
    """The same gates at every token.

    Args:
        gates: (3,) for all rows, or (N, 3) for each row its own; in [0, 1].
        name: what tables call it.

    Raises:
        InvalidValueError: gates of another shape, or out of range.
    """

    def __init__(self, gates: Sequence[float] | NDArray[np.floating], name: str = "fixed") -> None:
        shape = np.shape(gates) if np.ndim(gates) == 2 else (len(GATE_NAMES),)
        self.gates = require_gates(gates, (*shape[:-1], len(GATE_NAMES)), "gates").astype(np.float32)
        self.name = require_text("name", name)

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The gates (N, 3)."""
        return np.array(np.broadcast_to(self.gates, (len(observations), len(GATE_NAMES))))


class Neutral(Fixed):
    """Plain sampling from the language model."""

    def __init__(self) -> None:
        super().__init__(NEUTRAL_GATES, "neutral")


class Random(Agent):
    """Uniform gates, drawn anew at every token."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self._generator = np.random.default_rng(require_integer("seed", seed, SEED))

    def start(self, vector_env: VectorEnv, seed: int) -> None:
        """Take up the episodes' seed, so that the same episodes get the same gates."""
        self._generator = np.random.default_rng((1, seed))  # not the stream that the episodes draw from

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gates (N, 3)."""
        return self._generator.random((len(observations), len(GATE_NAMES)), dtype=np.float32)


@dataclass(frozen=True)
class TuningRound:
    """One round of :func:`tune_static`."""

    num_settings: int
    """Settings that took part."""
    episodes_per_setting: int
    """Episodes of each in this round, the same ones for all."""
    best_gates: tuple[float, ...]
    """The best setting by all its episodes so far."""
    best_return: float
    """Its mean return over those episodes, which flatters it: it was chosen by them."""


@dataclass(frozen=True)
class StaticTuning:
    """The outcome of :func:`tune_static` and what it cost."""

    gates: tuple[float, ...]
    """The best setting."""
    mean_return: float
    """Its mean return over its tuning episodes, which flatters it: it was chosen by them."""
    num_settings: int
    """Settings tried."""
    env_steps: int
    """Env steps (tokens) spent, those of rows that waited for others included."""
    rounds: tuple[TuningRound, ...]
    """Round by round."""

    def agent(self) -> Fixed:
        """The best setting as an agent."""
        return Fixed(self.gates, "best static")

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
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

    Every round costs about the same: each setting left runs the same episodes, then the best quarter goes on and gets
    four times as many. The settings are the neutral one and a scrambled Sobol sequence, stretched by 5% so that gates
    of exactly 0 and 1 are among them.

    Args:
        env: environment; its own prompts are the ones tuned on.
        num_settings: settings tried, at least 1.
        env_steps: env steps to spend in all; exceeded by less than a batch of episodes per round.
        num_envs: rows that run side by side.
        keep: fraction of the settings that goes on to the next round, in (0, 1).
        seed: of settings and episodes.
        progress: is told the env steps spent so far, and those to be spent in all.

    Raises:
        InvalidValueError: an argument out of its range.
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
                # A last batch that is not full is filled up with repeats, which are not looked at.
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
