"""Tuning a decoding method: the best of its settings that a given number of environment steps can find."""

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
    """One setting that was tried."""

    parameters: Mapping[str, float]
    """The setting."""
    mean_return: float
    """Its mean return."""
    episodes: int
    """Over so many episodes."""


@dataclass(frozen=True)
class DecoderTuning:
    """The outcome of :func:`tune_decoder` and what it cost."""

    family: str
    """The decoding method."""
    parameters: Mapping[str, float]
    """The best setting."""
    mean_return: float
    """Its mean return over the final's episodes, which flatters it by no more than being the best of a few does."""
    env_steps: int
    """Env steps (tokens) spent, those of rows that waited for others included."""
    seed: int
    """Of search and episodes."""
    trials: tuple[Trial, ...]
    """The search: settings in the order in which they were tried, all on the same episodes."""
    finalists: tuple[Trial, ...]
    """The final: the best settings of the search on episodes that the search has not seen."""

    def agent(self) -> Decoder:
        """The best setting as an agent."""
        decoder = DECODER_FAMILIES[self.family].agent(**self.parameters)
        decoder.name = f"best {self.family}"
        return decoder

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
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
    """Find the best parameters of a decoding method within a number of env steps, the same for every method.

    Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) searches from the method's defaults on; a trial
    runs `num_envs` episodes, the same ones for all. The best of many noisy figures is better than the setting it
    belongs to (the winner's curse), so the best few settings then run fresh episodes, and these alone decide.

    Args:
        family: decoding method, one of ``DECODER_FAMILIES``.
        env: environment; its own prompts are the ones tuned on.
        env_steps: most env steps to spend, final included; enough for one trial at least.
        num_envs: rows that run side by side, and episodes of a trial.
        num_finalists: settings in the final, at least 1; fewer if there are not as many trials.
        final_share: share of the steps that is kept for the final, at least 0 and below 1; too few for a batch of
            episodes of every finalist and there is none, so that the search decides.
        seed: of search and episodes; the same seed finds the same.
        progress: is told the env steps spent so far, and those to be spent in all.

    Raises:
        InvalidValueError: an argument out of its range.
        MissingExtraError: Optuna is not installed.
    """
    require_extra("optuna", "tune", "Tuning decoders")
    import optuna

    require_integer("num_envs", num_envs, COUNT)
    batch = num_envs * env.max_episode_steps  # most steps that a batch of episodes takes
    if require_integer("env_steps", env_steps) < batch:
        raise InvalidValueError("env_steps", f"must be at least {batch}, enough for one trial", env_steps)
    require_integer("seed", seed, SEED)
    require_integer("num_finalists", num_finalists, COUNT)
    require_number("final_share", final_share, Bounds(0, 1, is_open_above=True))
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else it writes a line for every study
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
