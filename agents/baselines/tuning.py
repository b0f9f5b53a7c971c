"""The tuner: the best parameters of a family that a given number of env steps can find."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from agents.baselines.baselines import STATIC_GATES
from agents.baselines.decoders import DECODER_FAMILIES
from agents.baselines.search_space import Range
from agents.baselines.setting_runner import Rows, SettingRunner
from agents.baselines.tuning_strategies import Strategy, Trial
from agents.episodes.agent import Agent
from agents.episodes.env_config import EnvConfig
from lm.checks import COUNT, SEED, require, require_integer, require_one_of
from lm.errors import CheckpointError, InvalidValueError
from lm.memory import require_memory
from lm.passed_files import read_object, record_from
from lm.runs.progress import Report, ignore
from lm.runs.stop import StopRequest


class Family(Protocol):
    """Agents that differ by their parameters, which the tuner searches."""

    @property
    def name(self) -> str:
        """Name on the command line and in tables."""

    @property
    def space(self) -> Mapping[str, Range]:
        """Parameters: range of the search and default."""

    @property
    def strategy(self) -> Strategy:
        """Default search strategy."""

    @property
    def is_per_row(self) -> bool:
        """Whether the rows of a vector env can have different settings."""

    def agent(self, /, **parameters: float) -> Agent:
        """One setting as an agent; missing parameters have their defaults."""

    def agent_of_rows(self, settings: Sequence[Mapping[str, float]]) -> Agent:
        """An agent with one setting a row, all equal unless :attr:`is_per_row`."""


FAMILIES: Mapping[str, Family] = {STATIC_GATES.name: STATIC_GATES, **DECODER_FAMILIES}
"""Families that can be tuned, by name: static gates and the decoding methods."""


@dataclass(frozen=True)
class Tuning:
    """Result of :func:`tune`, and what it cost."""

    family: str
    """Name of the family, one of ``FAMILIES``."""
    parameters: Mapping[str, float]
    """The best setting."""
    mean_return: float = math.nan
    """Its mean return in the last round, biased upwards: it was chosen by it. NaN if a file does not give it."""
    env_steps: int = 0
    """Env steps (tokens) spent, including those of rows that waited for others."""
    seed: int = 0
    """Seed of search and episodes."""
    trials: tuple[Trial, ...] = ()
    """All trials, round by round."""

    @property
    def rounds(self) -> tuple[tuple[Trial, ...], ...]:
        """The trials of each round."""
        return tuple(tuple(trials) for _, trials in groupby(self.trials, key=lambda trial: trial.round))

    @property
    def num_settings(self) -> int:
        """Number of trials in the first round."""
        return sum(trial.round == 0 for trial in self.trials)

    def agent(self) -> Agent:
        """The best setting as an agent.

        Raises:
            InvalidValueError: the family is unknown, or cannot use the parameters.
        """
        agent = family_named(self.family).agent(**self.parameters)
        agent.name = f"best {self.family}"
        return agent

    def to_json(self) -> dict[str, Any]:
        """As plain data, which :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: str | Path) -> Tuning:
        """The tuning that plain data holds. Only family and parameters are required; other keys are ignored.

        Args:
            content: of :meth:`to_json`, perhaps of an earlier version, whose final is a list of its own (`finalists`).
            source: name of the data in messages.

        Raises:
            CheckpointError: the data hold no tuning that can be used; says why.
        """
        known = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        search, final = content.get("trials"), content.get("finalists")
        if isinstance(search, list) and isinstance(final, list):
            known["trials"] = search + [one | {"round": 1} if isinstance(one, dict) else one for one in final]
        tuning = record_from(cls, known, source)
        try:
            tuning.agent()
        except InvalidValueError as error:
            raise CheckpointError(f"{source} holds no tuning result: {error}") from error
        return tuning


def read_tuning(path: str | Path) -> Tuning:
    """The tuning in a JSON file, as `tidal tune` writes them.

    Raises:
        CheckpointError: the file holds none; says why.
    """
    return Tuning.from_json(read_object(path), path)


def family_named(name: str) -> Family:
    """A family that can be tuned.

    Raises:
        InvalidValueError: no family has this name.
    """
    return FAMILIES[require_one_of("decoder", name, FAMILIES)]


def tune(
    family: str,
    env: EnvConfig,
    *,
    env_steps: int = 200_000,
    is_minimum: bool = False,
    num_envs: int = 64,
    strategy: Strategy | None = None,
    seed: int = 0,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> Tuning:
    """Find the best parameters of a family within a number of env steps.

    Args:
        family: "static" or a decoding method, one of ``FAMILIES``.
        env: environment; the prompts are those that are tuned on.
        env_steps: budget of the whole tuning. It is exceeded by less than one batch of episodes, by TPE never.
        is_minimum: whether `env_steps` is the least to spend, instead of the most.
        num_envs: rows that run side by side, at least 1.
        strategy: search strategy; None: that of the family, successive halving for static gates and TPE for decoding
            methods.
        seed: of search and episodes; the same seed gives the same result.
        progress: receives the env steps spent so far and the mean return of the newest batch, batch by batch.
        stop: stop request. Finish: the best setting so far is the result; an unfinished final of TPE is left out.
            Cancel: nothing is kept.

    Raises:
        InvalidValueError: an argument is out of its range, or `env_steps` is too small for the strategy.
        MissingExtraError: the strategy needs Optuna, which is not installed.
        RunCancelledError: `stop` requested a cancel.
    """
    chosen = family_named(family)
    strategy = chosen.strategy if strategy is None else strategy
    require_integer("seed", seed, SEED)
    limit = limit_of(chosen, env, env_steps, is_minimum=is_minimum, num_envs=num_envs, strategy=strategy)
    rows = _rows(chosen, env, num_envs)
    vector_env = env.make(num_envs)
    try:
        runner = SettingRunner(
            chosen.agent_of_rows,
            vector_env,
            rows=rows,
            env_steps=limit,
            seed=seed,
            stage=f"Tuning {family}",
            progress=progress,
            stop=stop,
        )
        trials = strategy.search(chosen.space, runner)
        if stop is not None:
            stop.raise_if_cancelled()
    finally:
        vector_env.close()
    best = max((trial for trial in trials if trial.round == trials[-1].round), key=lambda trial: trial.mean_return)
    return Tuning(family, best.parameters, best.mean_return, runner.spent, seed, trials)


def limit_of(
    family: Family,
    env: EnvConfig,
    env_steps: int,
    *,
    is_minimum: bool = False,
    num_envs: int = 64,
    strategy: Strategy | None = None,
) -> int:
    """Budget of a search, for the arguments of :func:`tune`.

    Raises:
        InvalidValueError: `env_steps` is too small for the strategy, or an argument is out of its range.
    """
    strategy = family.strategy if strategy is None else strategy
    require("strategy", "must be a search strategy", strategy, isinstance(strategy, Strategy))
    require("is_minimum", "must be true or false", is_minimum, isinstance(is_minimum, bool))
    require_integer("env_steps", env_steps, COUNT)
    require_integer("num_envs", num_envs, COUNT)
    use = "the returns of its episodes"
    require_memory("env_steps", env_steps, use, lambda steps: 2 * steps // env.max_episode_steps)
    rows = _rows(family, env, num_envs)
    least = strategy.least_steps(rows)
    if is_minimum:
        return max(least, strategy.limit_above(env_steps, rows))
    if env_steps < least:
        rule = f"must be at least {least} to tune {family.name} with {strategy}"
        hint = f"There are {num_envs} episodes of {env.max_episode_steps} tokens side by side."
        raise InvalidValueError("env_steps", rule, env_steps, hint)
    return env_steps


def _rows(family: Family, env: EnvConfig, num_envs: int) -> Rows:
    return Rows(num_envs, env.max_episode_steps, family.is_per_row)
