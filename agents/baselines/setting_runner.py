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
from lm.runs.progress import Progress, Report, ignore
from lm.runs.stop import StopRequest

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
        stage: name of the search for display.
        progress: receives the env steps spent so far and the mean return of the newest batch, batch by batch.
        stop: stop request, see :attr:`is_ending`.
    """

    def __init__(
        self,
        agent_of_rows: Callable[[Sequence[Mapping[str, float]]], Agent],
        vector_env: TidalGatingVectorEnv,
        *,
        rows: Rows,
        env_steps: int,
        seed: int,
        stage: str = "Tuning",
        progress: Report = ignore,
        stop: StopRequest | None = None,
    ) -> None:
        self.rows, self.env_steps, self.seed = rows, env_steps, seed
        self.spent = 0
        """Env steps so far, including those of rows that waited for others."""
        self._agent_of_rows, self._vector_env = agent_of_rows, vector_env
        self._stage, self._progress, self._stop = stage, progress, stop
        self._has_result = False

    @property
    def is_ending(self) -> bool:
        """Whether the search is to finish with what it has found. The first settings run one episode each before."""
        return self._has_result and self._stop is not None and self._stop.is_requested

    def returns(self, settings: Sequence[Mapping[str, float]], episodes: range) -> NDArray[np.float64]:
        """Returns (E, S) of S settings, each on the same E episodes.

        There are fewer episodes, perhaps none, when the search is to finish: those that every setting has run.

        Raises:
            RunCancelledError: the search is to cancel, within a batch.
        """
        found = np.empty((len(episodes), len(settings)))
        is_known = np.zeros(found.shape, np.bool_)
        pairs = np.indices(found.shape).reshape(2, -1).T  # (E * S, 2): episode and setting
        groups = [pairs] if self.rows.is_per_row else [pairs[pairs[:, 1] == one] for one in range(len(settings))]
        num_envs = self.rows.num_envs
        starts = range(0, len(groups[0]), num_envs)
        for batch in (group[first : first + num_envs] for first in starts for group in groups):
            if self.is_ending:
                break
            # A last batch that is not full is filled up with repeats, which are ignored.
            filled = np.resize(batch, (num_envs, 2))
            agent = self._agent_of_rows([settings[one] for one in filled[:, 1]])
            seeds = [episode_seed(self.seed, episodes[one]) for one in filled[:, 0]]
            result = run_episodes(agent, self._vector_env, seeds, self._stop)
            returns = result.returns[: len(batch)]
            found[batch[:, 0], batch[:, 1]] = returns
            is_known[batch[:, 0], batch[:, 1]] = True
            self.spent += num_envs * result.tokens.shape[1]
            self._has_result = self._has_result or bool(is_known[0].all())
            metrics = {"mean_return": float(returns.mean())}
            total = max(self.env_steps, self.spent)
            self._progress(Progress(self._stage, self.spent, total, "env steps", metrics))
        return found[is_known.all(axis=1)]
