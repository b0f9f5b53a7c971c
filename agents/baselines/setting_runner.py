"""Runs episodes of settings of a family, and counts the env steps that they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.episodes.agent import Agent
from agents.episodes.episodes import episode_seed, run_episodes

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


@dataclass(frozen=True)
class Rows:
    """The rows of a vector env that run side by side."""

    num_envs: int
    """Number of rows."""
    episode_steps: int
    """Most env steps of an episode."""
    is_per_row: bool
    """Whether rows can have different settings."""

    @property
    def batch_steps(self) -> int:
        """Most env steps that one episode in every row takes."""
        return self.num_envs * self.episode_steps

    @property
    def fewest_episodes(self) -> int:
        """Fewest episodes of a setting that waste no row."""
        return 1 if self.is_per_row else self.num_envs

    def env_steps_of(self, num_settings: int, episodes: int) -> int:
        """Most env steps that so many episodes of every setting take."""
        if self.is_per_row:
            return math.ceil(num_settings * episodes / self.num_envs) * self.batch_steps
        return num_settings * math.ceil(episodes / self.num_envs) * self.batch_steps


class SettingRunner:
    """Measures settings on numbered episodes, the same for every setting.

    Args:
        agent_of_rows: the agent of one setting a row; if `rows` cannot differ, all settings are equal.
        vector_env: environment.
        rows: its rows.
        env_steps: budget, which the search strategy keeps.
        seed: of search and episodes.
        progress: receives the env steps spent so far, and the total.
    """

    def __init__(
        self,
        agent_of_rows: Callable[[Sequence[Mapping[str, float]]], Agent],
        vector_env: TidalGatingVectorEnv,
        *,
        rows: Rows,
        env_steps: int,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.rows, self.env_steps, self.seed = rows, env_steps, seed
        self.spent = 0
        """Env steps so far, including those of rows that waited for others."""
        self._agent_of_rows, self._vector_env, self._progress = agent_of_rows, vector_env, progress

    def returns(self, settings: Sequence[Mapping[str, float]], episodes: range) -> NDArray[np.float64]:
        """Returns (E, S) of S settings, each on the same E episodes."""
        found = np.empty((len(episodes), len(settings)))
        pairs = np.indices(found.shape).reshape(2, -1).T  # (E * S, 2): episode and setting
        groups = [pairs] if self.rows.is_per_row else [pairs[pairs[:, 1] == one] for one in range(len(settings))]
        num_envs = self.rows.num_envs
        for group in groups:
            for first in range(0, len(group), num_envs):
                batch = group[first : first + num_envs]
                # A last batch that is not full is filled up with repeats, which are ignored.
                filled = np.resize(batch, (num_envs, 2))
                agent = self._agent_of_rows([settings[one] for one in filled[:, 1]])
                seeds = [episode_seed(self.seed, episodes[one]) for one in filled[:, 0]]
                result = run_episodes(agent, self._vector_env, seeds)
                found[batch[:, 0], batch[:, 1]] = result.returns[: len(batch)]
                self.spent += num_envs * result.tokens.shape[1]
                if self._progress is not None:
                    self._progress(self.spent, max(self.env_steps, self.spent))
        return found
