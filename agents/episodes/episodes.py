"""Runs an agent over seeded episodes, one per row, and records tokens, gates, rewards and infos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.episodes.agent import Agent
from lm.checks import COUNT, SEED, require_integer
from lm.memory import require_memory
from lm.runs.progress import Progress, Report, ignore
from lm.runs.stop import StopRequest
from tidal_gym.envs.infos import of_step

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv

REWARD_PREFIX = "reward_"
"""Prefix of the infos with the unweighted terms of a reward."""


@dataclass(frozen=True)
class Episodes:
    """Record of E episodes of at most T tokens. Entries after an episode's end are 0 (see :attr:`is_alive`)."""

    prompts: tuple[tuple[int, ...], ...]
    """Token ids of the E prompts."""
    tokens: NDArray[np.int64]
    """(E, T) ids of the drawn tokens."""
    gates: NDArray[np.float32]
    """(E, T, 3) actions."""
    rewards: NDArray[np.float64]
    """(E, T) rewards."""
    infos: Mapping[str, NDArray[Any]]
    """(E, T) each: the environment's infos of each token."""
    lengths: NDArray[np.int64]
    """(E,) numbers of drawn tokens, end of text included."""

    @property
    def is_alive(self) -> NDArray[np.bool_]:
        """(E, T) whether the token belongs to the episode."""
        return np.arange(self.tokens.shape[1]) < self.lengths[:, None]

    @property
    def returns(self) -> NDArray[np.float64]:
        """(E,) sum of rewards."""
        return self.rewards.sum(axis=1)

    def sums(self, key: str) -> NDArray[np.float64]:
        """(E,) sum of one of the infos over each episode."""
        return self.infos[key].sum(axis=1)

    def mean(self, key: str) -> float:
        """Mean of one of the infos over all tokens of all episodes."""
        return float(self.infos[key].sum() / self.lengths.sum())

    def first(self, count: int) -> Episodes:
        """The first `count` episodes."""
        return Episodes(
            prompts=self.prompts[:count],
            tokens=self.tokens[:count],
            gates=self.gates[:count],
            rewards=self.rewards[:count],
            infos={key: values[:count] for key, values in self.infos.items()},
            lengths=self.lengths[:count],
        )

    @staticmethod
    def join(parts: Sequence[Episodes]) -> Episodes:
        """All episodes of the parts, in their order."""
        longest = max(part.tokens.shape[1] for part in parts)

        def joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
            widths = [[(0, 0), (0, longest - array.shape[1])] + [(0, 0)] * (array.ndim - 2) for array in arrays]
            return np.concatenate([np.pad(array, width) for array, width in zip(arrays, widths, strict=True)])

        return Episodes(
            prompts=tuple(prompt for part in parts for prompt in part.prompts),
            tokens=joined([part.tokens for part in parts]),
            gates=joined([part.gates for part in parts]),
            rewards=joined([part.rewards for part in parts]),
            infos={key: joined([part.infos[key] for part in parts]) for key in parts[0].infos},
            lengths=np.concatenate([part.lengths for part in parts]),
        )


def episode_seed(seed: int, episode: int) -> int:
    """Seed of an episode of a series; hashed, so that series with adjacent seeds share no episodes."""
    return int(np.random.SeedSequence((seed, episode)).generate_state(1)[0])


def run_episodes(
    agent: Agent, vector_env: TidalGatingVectorEnv, seeds: Sequence[int], stop: StopRequest | None = None
) -> Episodes:
    """Run one episode per row; its prompt and random numbers depend on the row's seed only.

    Args:
        agent: agent to run.
        vector_env: vector env with SAME_STEP autoreset; rows that finish early start again and are ignored.
        seeds: seeds of the N rows.
        stop: stop request. A cancel takes effect at the next step; a finish is ignored: the episodes are completed.

    Raises:
        RunCancelledError: `stop` requested a cancel.
    """
    agent.start(vector_env, seeds[0])
    observations, _ = vector_env.reset(seed=list(seeds))
    prompts = tuple(tuple(ids) for ids in vector_env.token_ids())
    num_rows = len(seeds)
    is_alive = np.ones(num_rows, bool)
    lengths = np.zeros(num_rows, np.int64)
    steps: list[tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]] = []
    while is_alive.any():
        if stop is not None:
            stop.raise_if_cancelled()
        gates, observations, rewards, terminations, truncations, infos = agent.step(vector_env, observations)
        is_done = terminations | truncations
        steps.append((is_alive, np.array(gates), np.array(rewards, float), _step_infos(infos, is_done)))
        lengths += is_alive
        is_alive = is_alive & ~is_done

    def stacked(arrays: list[NDArray[Any]]) -> NDArray[Any]:
        kept = [np.where(np.expand_dims(step[0], tuple(range(1, array.ndim))), array, 0)
                for step, array in zip(steps, arrays, strict=True)]  # fmt: skip
        return np.stack(kept, axis=1)  # (N, T, ...)

    infos_by_key = {key: stacked([step[3][key] for step in steps]) for key in steps[0][3]}
    return Episodes(
        prompts=prompts,
        tokens=infos_by_key.pop("token"),
        gates=stacked([step[1] for step in steps]),
        rewards=stacked([step[2] for step in steps]),
        infos=infos_by_key,
        lengths=lengths,
    )


def require_series(episodes: int, seed: int, max_episode_steps: int) -> None:
    """Checks the number of episodes and the seed of a series.

    Raises:
        InvalidValueError: `episodes` is below 1, or more than the memory holds records of; or `seed` is below 0.
    """
    require_integer("episodes", episodes, COUNT)
    row = 32 * max_episode_steps  # token, gates, reward and more numbers of each step
    require_memory("episodes", episodes, "their records", lambda count: row * count)
    require_integer("seed", seed, SEED)


def run_series(
    agent: Agent,
    vector_env: TidalGatingVectorEnv,
    episodes: int,
    seed: int,
    *,
    stage: str = "Running episodes",
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> Episodes:
    """Run a series of episodes in batches; episode i is seeded with (seed, i), the same for all agents.

    Args:
        agent: agent to run.
        vector_env: vector env as for :func:`run_episodes`; its N rows run in parallel.
        episodes: number of episodes, at least 1.
        seed: seed of the series, at least 0.
        stage: name of the series for display.
        progress: receives the number of finished episodes and their mean return, batch by batch.
        stop: stop request. Finish: the series ends after the batch under way, with fewer episodes, at least one batch.

    Raises:
        RunCancelledError: `stop` requested a cancel.
    """
    num_envs = vector_env.num_envs
    parts: list[Episodes] = []
    returns: list[float] = []
    for first in range(0, episodes, num_envs):
        # The last batch is full as well: float32 rounding depends on the shape of the batch.
        seeds = [episode_seed(seed, first + row) for row in range(num_envs)]
        parts.append(run_episodes(agent, vector_env, seeds, stop))
        returns = [*returns, *parts[-1].returns.tolist()][:episodes]
        progress(Progress(stage, len(returns), episodes, "episodes", {"mean_return": float(np.mean(returns))}))
        if stop is not None and stop.is_requested:
            stop.raise_if_cancelled()
            break
    return Episodes.join(parts).first(episodes)


def _step_infos(infos: dict[str, Any], is_done: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """The numeric infos (N,) of the step."""
    keys = [key for key in {**infos, **infos.get("final_info", {})} if not key.startswith(("_", "final_"))]
    found = {key: of_step(infos, key, is_done) for key in keys}
    return {
        key: values
        for key, values in found.items()
        if isinstance(values, np.ndarray) and values.dtype != object and values.ndim == 1
    }
