"""Tuning of a decoding method's parameters with a given number of environment steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agents.baselines.decoders import DECODER_FAMILIES, Decoder, DecoderFamily
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import episode_seed, run_episodes
from lm.checks import COUNT, SEED, Bounds, require_integer, require_number
from lm.errors import InvalidValueError
from lm.extras import require_extra


@dataclass(frozen=True)
class Trial:
    """A tried setting of a decoding method, with its result."""

    parameters: Mapping[str, float]
    """Parameters of the setting."""
    mean_return: float
    """Mean return of the setting."""
    episodes: int
    """Number of episodes of the mean return."""


@dataclass(frozen=True)
class DecoderTuning:
    """Result of :func:`tune_decoder`."""

    family: str
    """Name of the decoding method."""
    parameters: Mapping[str, float]
    """Best parameters."""
    mean_return: float
    """Mean return of the best parameters in the final round; biased only by the selection among the finalists."""
    env_steps: int
    """Env steps (tokens) used, including those of rows that waited for others."""
    seed: int
    """Seed of search and episodes."""
    trials: tuple[Trial, ...]
    """Trials of the search in their order, all on the same episodes."""
    finalists: tuple[Trial, ...]
    """Final round: the best settings of the search on fresh episodes."""

    def agent(self) -> Decoder:
        """The best parameters as an agent."""
        decoder = DECODER_FAMILIES[self.family].agent(**self.parameters)
        decoder.name = f"best {self.family}"
        return decoder

    def to_json(self) -> dict[str, Any]:
        """The result as plain data."""
        return asdict(self)


def tune_decoder(
    family: DecoderFamily,
    env: EnvConfig,
    *,
    env_steps: int = 200_000,
    num_envs: int = 64,
    num_finalists: int = 4,
    final_share: float = 0.4,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> DecoderTuning:
    """Find the best parameters of a decoding method within a budget of env steps.

    Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) searches, starting from the method's defaults; each
    trial runs the same `num_envs` episodes. The maximum of noisy means is biased upwards (the winner's curse), so the
    best few settings then run fresh episodes, which decide.

    Args:
        family: decoding method, one of ``DECODER_FAMILIES``.
        env: environment to tune in, with its prompts.
        env_steps: budget of env steps, final round included; at least enough for one trial.
        num_envs: number of parallel rows, and of episodes of a trial.
        num_finalists: number of settings in the final round, at least 1; fewer if there are fewer trials.
        final_share: share of the steps reserved for the final round, at least 0 and below 1. If it does not suffice for
            a batch of episodes of each finalist, there is no final round and the search decides.
        seed: seed of search and episodes; equal seeds give equal results.
        progress: callback that receives the env steps used so far and the budget.

    Raises:
        InvalidValueError: an argument is out of its range.
        MissingExtraError: Optuna is not installed.
    """
    require_extra("optuna", "tune", "Tuning decoders")
    import optuna

    require_integer("num_envs", num_envs, COUNT)
    batch = num_envs * env.max_episode_steps  # upper bound of the steps of a batch of episodes
    if require_integer("env_steps", env_steps) < batch:
        raise InvalidValueError("env_steps", f"must be at least {batch}, enough for one trial", env_steps)
    require_integer("seed", seed, SEED)
    require_integer("num_finalists", num_finalists, COUNT)
    require_number("final_share", final_share, Bounds(0, 1, is_open_above=True))
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise it logs a line for each study
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed % 2**32))
    study.enqueue_trial({name: where.default for name, where in family.space.items()})
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: where.distribution() for name, where in family.space.items()
    }
    vector_env = env.make(num_envs)
    trials: list[Trial] = []
    spent = 0

    def mean_return(parameters: Mapping[str, float], first_episode: int) -> float:
        nonlocal spent
        seeds = [episode_seed(seed, first_episode + row) for row in range(num_envs)]
        episodes = run_episodes(family.agent(**parameters), vector_env, seeds)
        spent += num_envs * episodes.tokens.shape[1]
        if progress is not None:
            progress(spent, env_steps)
        return float(episodes.returns.mean())

    try:
        while not trials or spent + batch <= (1 - final_share) * env_steps:
            asked = study.ask(distributions)
            trials.append(Trial(asked.params, mean_return(asked.params, 0), num_envs))
            study.tell(asked, trials[-1].mean_return)
        distinct = {tuple(trial.parameters.items()): trial for trial in trials}.values()
        best = sorted(distinct, key=lambda trial: -trial.mean_return)[:num_finalists]
        batches = (env_steps - spent) // (batch * len(best))
        finalists = [
            Trial(
                trial.parameters,
                float(np.mean([mean_return(trial.parameters, num_envs * (1 + number)) for number in range(batches)])),
                num_envs * batches,
            )
            for trial in best
            if batches > 0
        ]
    finally:
        vector_env.close()
    winner = max(finalists or best, key=lambda trial: trial.mean_return)
    return DecoderTuning(
        family=family.name,
        parameters=winner.parameters,
        mean_return=winner.mean_return,
        env_steps=spent,
        seed=seed,
        trials=tuple(trials),
        finalists=tuple(finalists),
    )
