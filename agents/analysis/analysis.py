"""What an agent does with the gates, from all sides: statistics, changes, tokens, prompts, extremes, stories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from agents.analysis.config import AnalysisConfig
from agents.analysis.extreme_settings import SweptSetting, sweep_extremes
from agents.analysis.gate_statistics import Correlation, Quarter, correlations, quarters
from agents.analysis.phase_changes import PhaseChanges, phase_changes
from agents.analysis.prompt_variance import PromptVariance, prompt_variance
from agents.analysis.recorder import Recorder
from agents.analysis.token_gates import TokenGates, token_gates
from agents.episodes.agent import Agent
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import Episodes, run_series
from agents.episodes.gate_summary import GateSummary, summarize_gates
from agents.episodes.stories import Story, story_of, token_name
from agents.evaluation.intervals import Interval, bootstrap_mean

WHOLE_PROMPT = (1_000_000, 1_000_000)
"""More tokens than any prompt has: all of them are used."""


@dataclass(frozen=True)
class Analysis:
    """All that was found."""

    agent: str
    """Name of the agent."""
    num_episodes: int
    """Episodes looked at."""
    num_tokens: int
    """Tokens drawn in them."""
    mean_return: Interval
    """Sum of rewards of an episode, with its 95% bootstrap interval."""
    gates: dict[str, GateSummary]
    """By name of the gate."""
    quarters: tuple[Quarter, ...]
    """Evolution in the quarters of the episodes."""
    correlations: tuple[Correlation, ...]
    """Of gates with each other and with entropies."""
    phases: PhaseChanges
    """Where gates take another level."""
    tokens: TokenGates
    """Tokens with the highest and lowest gates."""
    prompts: PromptVariance | None
    """Differences between prompts; None if they were not asked for, or all episodes begin alike."""
    num_swept: int
    """The first episodes, which the extreme settings were run on."""
    swept_return: Interval
    """What the agent earned in those, or in all if there are none."""
    sweep: tuple[SweptSetting, ...]
    """What 15 extreme settings earned there; empty if they were not asked for."""
    stories: tuple[Story, ...] = field(repr=False)
    """The first episodes."""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def analyze(
    agent: Agent,
    env: EnvConfig,
    config: AnalysisConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """Watch an agent, in the episodes that ``agents.evaluate`` runs with the same seed and prompts.

    Args:
        agent: whom to watch.
        env: the environment, whose prompts are replaced.
        config: what is looked at; None: the defaults.
        progress: is told how many episodes are done, and how many there are, those of prompts and sweep included.

    Raises:
        InvalidValueError: the agent sets no gates, or the environment refuses its arguments.
    """
    config = AnalysisConfig() if config is None else config
    env = replace(env, prompts=config.prompts)
    seed, num_envs = config.seed, min(config.num_envs, config.episodes)
    swept = min(config.sweep_episodes, config.episodes)
    total = config.episodes * (2 if config.repeated_prompts else 1) + 15 * swept

    def report(before: int, each: int = 1) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, _: progress(before + each * done, total)

    vector_env = env.make(num_envs)
    try:
        recorder = Recorder(agent, rows=min(config.stories, num_envs))
        episodes = run_series(recorder, vector_env, config.episodes, seed, report(0))
    finally:
        vector_env.close()
    episodes = replace(episodes, infos={**episodes.infos, "neutral_entropy": recorder.neutral_entropy(episodes)})
    tokenizer = vector_env.bundle.tokenizer
    prompts = None
    if config.repeated_prompts and len(set(episodes.prompts)) > 1:
        prompts = _compare_prompts(agent, env, config, episodes, tokenizer, report(config.episodes))
    sweep: tuple[SweptSetting, ...] = ()
    if swept:
        before = total - 15 * swept
        sweep = sweep_extremes(env, episodes.first(swept), seed=seed, num_envs=num_envs, progress=report(before, swept))
    return Analysis(
        agent=agent.name,
        num_episodes=config.episodes,
        num_tokens=int(episodes.lengths.sum()),
        mean_return=bootstrap_mean(episodes.returns, seed),
        gates=summarize_gates(episodes),
        quarters=quarters(episodes, seed),
        correlations=correlations(episodes, seed),
        phases=phase_changes(episodes, config.window, seed),
        tokens=token_gates(
            episodes, lambda token: token_name(tokenizer, token), min_occurrences=config.min_occurrences
        ),
        prompts=prompts,
        num_swept=swept,
        swept_return=bootstrap_mean(episodes.returns[: swept or None], seed),
        sweep=sweep,
        stories=tuple(
            story_of(episodes, row, tokenizer, agent.name, recorder.candidates)
            for row in range(min(config.stories, num_envs))
        ),
    )


def _compare_prompts(
    agent: Agent,
    env: EnvConfig,
    config: AnalysisConfig,
    episodes: Episodes,
    tokenizer: Any,
    progress: Callable[[int, int], None] | None,
) -> PromptVariance:
    """Run as many episodes again, from the first few prompts alone, each of which so begins several."""
    chosen = list(dict.fromkeys(episodes.prompts))[: config.repeated_prompts]
    texts = list(dict.fromkeys(tokenizer.decode(list(prompt), skip_special_tokens=True) for prompt in chosen))
    repeated = replace(env, prompts=texts, prompt_tokens=WHOLE_PROMPT)
    vector_env = repeated.make(min(config.num_envs, config.episodes))
    try:
        # Another seed: the same would give these episodes the random numbers of those already looked at.
        series = run_series(agent, vector_env, config.episodes, config.seed + 1, progress)
    finally:
        vector_env.close()
    decoded = {prompt: tokenizer.decode(list(prompt), skip_special_tokens=True) for prompt in set(series.prompts)}
    return prompt_variance(series, decoded, config.seed)
