"""Evaluation: the same episodes for every agent, returns with intervals, how the gates were used, and what came out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from agents.episodes.agent import Agent
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import REWARD_PREFIX, Episodes, require_series, run_series
from agents.episodes.gate_summary import GateSummary, summarize_gates
from agents.episodes.stories import Story, story_of
from agents.evaluation.intervals import Interval, bootstrap_mean
from agents.evaluation.text_measures import FEWEST_TEXTS, TextMeasures, TextMeasuresConfig, measure_episodes
from agents.evaluation.text_statistics import TextStatistics, text_statistics
from lm.checks import COUNT, at_least, require_integer
from lm.data.documents import require_documents
from lm.errors import InvalidValueError


@dataclass(frozen=True)
class Evaluation:
    """What an agent did in the evaluated episodes."""

    agent: str
    """Name of the agent."""
    seed: int
    """Of the episodes."""
    episodes_fingerprint: str
    """Of seed and prompts: evaluations with the same one can be compared episode by episode."""
    mean_return: Interval
    """Sum of rewards of an episode."""
    returns: tuple[float, ...]
    """Sum of rewards of each episode, in the order of the episodes."""
    term_sums: dict[str, float]
    """Mean over episodes of the sum of each unweighted reward term."""
    gates: dict[str, GateSummary]
    """By name of the gate."""
    perplexity: float
    """exp of the mean surprisal of the drawn tokens under the neutral model."""
    sampling_entropy: float
    """Mean entropy of the distributions that tokens were drawn from [nats]."""
    text: TextStatistics
    """Of the drawn tokens."""
    samples: tuple[Story, ...] = field(repr=False)
    """The first few episodes."""
    measures: TextMeasures | None = None
    """Measures of text beside those of human text, if they were asked for."""
    mean_cost: Interval | None = None
    """Sum of costs of an episode; None if the environment has none."""

    def to_json(self) -> str:
        """As JSON text."""
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
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run an agent over episodes that depend on `prompts`, `seed` and their number alone, not on the agent.

    Episode i draws its prompt and its tokens from a generator of its own, seeded with (seed, i): every agent meets the
    same prompt and the same random numbers. How many rows run side by side changes nothing but float32's last digits.

    Args:
        agent: whom to evaluate.
        env: the environment, whose prompts are replaced.
        prompts: as ``TidalGatingVectorEnv`` takes them.
        episodes: how many, at least 1.
        seed: of the episodes and of the bootstrap.
        num_envs: rows that run side by side.
        num_samples: episodes whose texts are kept.
        measures: how the texts are compared with human text; None: not at all.
        progress: is told how many episodes are done, and how many there are.

    Raises:
        InvalidValueError: `episodes` is below 1, or below 64 with `measures`, or `seed` below 0.
    """
    require_series(episodes, seed)
    require_integer("num_envs", num_envs, COUNT)
    require_integer("num_samples", num_samples, at_least(0))
    if measures is not None and episodes < FEWEST_TEXTS:
        raise InvalidValueError("episodes", f"must be at least {FEWEST_TEXTS} for measures of text", episodes)
    if measures is not None and measures.human is not None:  # before episodes are run
        require_documents(measures.human, parameters=("human", "text"))
    vector_env = replace(env, prompts=prompts).make(min(num_envs, episodes))
    try:
        played = run_series(agent, vector_env, episodes, seed, progress)
        evaluation = summarize(agent.name, played, seed, num_samples, vector_env)
        if measures is None:
            return evaluation
        bundle = vector_env.unwrapped.bundle
        return replace(evaluation, measures=measure_episodes(played, bundle, measures, seed=seed))
    finally:
        vector_env.close()


def summarize(name: str, episodes: Episodes, seed: int, num_samples: int, vector_env: Any) -> Evaluation:
    """The figures of finished episodes; `vector_env` is asked for its tokenizer only."""
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
    """Mean of what `first` earns more than `second` in the same episode, with its 95% bootstrap interval.

    Raises:
        InvalidValueError: the two were evaluated on different episodes.
    """
    if second.episodes_fingerprint != first.episodes_fingerprint:
        rule = f"must be of the same seed and prompts as `first` ({first.episodes_fingerprint})"
        raise InvalidValueError("second", rule, second.episodes_fingerprint)
    return bootstrap_mean(np.subtract(first.returns, second.returns), first.seed)
