"""Analysis of an agent's gates: statistics, phase changes, tokens, prompts, extreme settings and stories."""

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
"""`prompt_tokens` that use the whole prompt: more tokens than any prompt has."""


@dataclass(frozen=True)
class Analysis:
    """Result of an analysis of an agent."""

    agent: str
    """Name of the agent."""
    num_episodes: int
    """Number of analysed episodes."""
    num_tokens: int
    """Number of tokens drawn in the analysed episodes."""
    mean_return: Interval
    """Mean sum of rewards of an episode, with 95% bootstrap interval."""
    gates: dict[str, GateSummary]
    """Summary of each gate, by gate name."""
    quarters: tuple[Quarter, ...]
    """Means in the four quarters of the episodes."""
    correlations: tuple[Correlation, ...]
    """Correlations of gates with each other and with entropies."""
    phases: PhaseChanges
    """Places where a gate changes its level."""
    tokens: TokenGates
    """Tokens with the highest and lowest gates."""
    prompts: PromptVariance | None
    """Differences between prompts; None if not requested, or if all episodes have the same prompt."""
    num_swept: int
    """Number of episodes, the first ones, that the extreme settings were run on."""
    swept_return: Interval
    """The agent's mean return in these episodes; in all episodes if there was no sweep."""
    sweep: tuple[SweptSetting, ...]
    """Results of the 15 extreme settings in these episodes; empty if not requested."""
    stories: tuple[Story, ...] = field(repr=False)
    """Stories of the first episodes."""

    def to_json(self) -> dict[str, Any]:
        """The analysis as plain data."""
        return asdict(self)


def analyze(
    agent: Agent,
    env: EnvConfig,
    config: AnalysisConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """Analyse an agent in the episodes that ``agents.evaluate`` runs with the same seed and prompts.

    Args:
        agent: agent to analyse.
        env: environment; its prompts are replaced.
        config: configuration of the analysis; None: the defaults.
        progress: callback that receives the finished and the total episodes, including those of prompts and sweep.

    Raises:
        InvalidValueError: the agent sets no gates, or an argument of the environment is invalid.
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
    """Run the same number of episodes from the first few prompts only, so that each prompt has several episodes."""
    chosen = list(dict.fromkeys(episodes.prompts))[: config.repeated_prompts]
    texts = list(dict.fromkeys(tokenizer.decode(list(prompt), skip_special_tokens=True) for prompt in chosen))
    repeated = replace(env, prompts=texts, prompt_tokens=WHOLE_PROMPT)
    vector_env = repeated.make(min(config.num_envs, config.episodes))
    try:
        # A different seed, so that these episodes have random numbers of their own.
        series = run_series(agent, vector_env, config.episodes, config.seed + 1, progress)
    finally:
        vector_env.close()
    decoded = {prompt: tokenizer.decode(list(prompt), skip_special_tokens=True) for prompt in set(series.prompts)}
    return prompt_variance(series, decoded, config.seed)
