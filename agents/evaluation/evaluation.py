"""Evaluation of an agent on reproducible episodes: returns with intervals, gates, texts and text measures."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from agents.episodes.agent import Agent
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import REWARD_PREFIX, Episodes, require_series, run_series
from agents.episodes.gate_summary import GateSummary, summarize_gates
from agents.episodes.stories import Story, story_of
from agents.evaluation.intervals import Interval, bootstrap_mean
from agents.evaluation.text_measures import TextMeasures, measure_episodes, require_measurable
from agents.evaluation.text_measures_config import FEWEST_TEXTS, TextMeasuresConfig
from agents.evaluation.text_statistics import TextStatistics, text_statistics
from lm.checks import COUNT, at_least, require_integer
from lm.errors import InvalidValueError
from lm.runs.progress import Report, ignore
from lm.runs.stop import RunCancelledError, StopRequest


@dataclass(frozen=True)
class Evaluation:
    """Result of the evaluation of an agent."""

    agent: str
    """Name of the agent."""
    seed: int
    """Seed of the episodes."""
    episodes_fingerprint: str
    """Hash of seed and prompts; evaluations with equal fingerprints can be paired by episode."""
    mean_return: Interval
    """Mean sum of rewards of an episode, with 95% interval."""
    returns: tuple[float, ...]
    """Sum of rewards of each episode, in the order of the episodes."""
    term_sums: dict[str, float]
    """Mean over episodes of the sum of each unweighted reward term."""
    gates: dict[str, GateSummary]
    """Summary of each gate, by gate name."""
    perplexity: float
    """exp of the mean surprisal of the drawn tokens under the neutral model."""
    sampling_entropy: float
    """Mean entropy of the distributions that tokens were drawn from [nats]."""
    text: TextStatistics
    """Statistics of the generated texts."""
    samples: tuple[Story, ...] = field(repr=False)
    """Stories of the first episodes."""
    measures: TextMeasures | None = None
    """Text measures compared with human text; None if not requested."""
    mean_cost: Interval | None = None
    """Mean sum of costs of an episode, with 95% interval; None if the environment has no cost."""

    def to_json(self) -> str:
        """The evaluation as JSON text."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)


def evaluate(
    agent: Agent,
    env: EnvConfig,
    *,
    prompts: str | list[str] = "heldout",
    episodes: int = 256,
    seed: int = 0,
    num_envs: int = 64,
    num_samples: int = 4,
    measures: TextMeasuresConfig | None = None,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> Evaluation:
    """Evaluate an agent on episodes that depend on `prompts`, `seed` and their number only, not on the agent.

    Episode i has a generator of its own for prompt and tokens, seeded with (seed, i): all agents get the same prompts
    and random numbers. The number of parallel rows affects float32 rounding only.

    Args:
        agent: agent to evaluate.
        env: environment; its prompts are replaced.
        prompts: prompts as for ``TidalGatingVectorEnv``.
        episodes: number of episodes, at least 1.
        seed: seed of the episodes and of the bootstrap.
        num_envs: number of parallel rows.
        num_samples: number of episodes whose stories are kept.
        measures: configuration of the text measures; None: no text measures.
        progress: receives the number of finished episodes and their mean return, batch by batch.
        stop: stop request. Finish: the batch of episodes under way is completed, and the episodes so far are evaluated;
            `measures` are left out if these are below 64. Two evaluations can be paired only if both have as many.

    Raises:
        RunCancelledError: `stop` requested a cancel, or a finish before the first batch of episodes.
        InvalidValueError: `episodes` is below 1, or below 64 with `measures`, or `seed` below 0.
    """
    require_series(episodes, seed, env.max_episode_steps)
    require_integer("num_envs", num_envs, COUNT)
    require_integer("num_samples", num_samples, at_least(0))
    if measures is not None and episodes < FEWEST_TEXTS:
        raise InvalidValueError("episodes", f"must be at least {FEWEST_TEXTS} for measures of text", episodes)
    if stop is not None and stop.is_requested:
        raise RunCancelledError("The evaluation was to end before its first episode.")
    vector_env = replace(env, prompts=prompts).make(min(num_envs, episodes))
    try:
        if measures is not None:
            require_measurable(measures, vector_env.unwrapped.bundle)
        stage = f"Evaluating {agent.name}"
        played = run_series(agent, vector_env, episodes, seed, stage=stage, progress=progress, stop=stop)
        evaluation = summarize(agent.name, played, seed, num_samples, vector_env)
        if measures is None or len(played.lengths) < FEWEST_TEXTS:
            return evaluation
        bundle = vector_env.unwrapped.bundle
        return replace(evaluation, measures=measure_episodes(played, bundle, measures, seed=seed))
    finally:
        vector_env.close()


def summarize(name: str, episodes: Episodes, seed: int, num_samples: int, vector_env: Any) -> Evaluation:
    """Evaluation of finished episodes; only the tokenizer of `vector_env` is used."""
    terms = [key for key in episodes.infos if key.startswith(REWARD_PREFIX)]
    texts = [ids[:length].tolist() for ids, length in zip(episodes.tokens, episodes.lengths, strict=True)]
    return Evaluation(
        agent=name,
        seed=seed,
        episodes_fingerprint=hashlib.sha256(repr((seed, episodes.prompts)).encode()).hexdigest()[:12],
        mean_return=bootstrap_mean(episodes.returns, seed),
        returns=tuple(episodes.returns.tolist()),
        term_sums={key.removeprefix(REWARD_PREFIX): float(episodes.sums(key).mean()) for key in terms},
        gates=summarize_gates(episodes),
        perplexity=math.exp(-episodes.mean("log_prob")),
        sampling_entropy=episodes.mean("entropy"),
        text=text_statistics(texts),
        samples=tuple(
            story_of(episodes, row, vector_env.unwrapped.bundle.tokenizer, name)
            for row in range(min(num_samples, len(texts)))
        ),
        mean_cost=bootstrap_mean(episodes.sums("cost"), seed) if "cost" in episodes.infos else None,
    )


def paired_difference(first: Evaluation, second: Evaluation) -> Interval:
    """Mean paired difference of returns, `first` minus `second`, with its 95% bootstrap interval.

    Raises:
        InvalidValueError: the two were evaluated on different episodes.
    """
    if second.episodes_fingerprint != first.episodes_fingerprint:
        rule = f"must be of the same seed and prompts as `first` ({first.episodes_fingerprint})"
        raise InvalidValueError("second", rule, second.episodes_fingerprint)
    return bootstrap_mean(np.subtract(first.returns, second.returns), first.seed)
