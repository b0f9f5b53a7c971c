"""Analysis of an agent's gates: statistics, phase changes, tokens, prompts, extreme settings and stories."""

from __future__ import annotations

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
from lm.runs.progress import Report, ignore
from lm.runs.stop import RunCancelledError, StopRequest

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
    """Differences between prompts; None if not requested or not complete, or if all episodes have the same prompt."""
    num_swept: int
    """Number of episodes, the first ones, that the extreme settings were run on."""
    swept_return: Interval
    """The agent's mean return in these episodes; in all episodes if there was no sweep."""
    sweep: tuple[SweptSetting, ...]
    """Results of the 15 extreme settings in these episodes; empty if not requested or not complete."""
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
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> Analysis:
    """Analyse an agent in the episodes that ``agents.evaluate`` runs with the same seed and prompts.

    Args:
        agent: agent to analyse.
        env: environment; its prompts are replaced.
        config: configuration of the analysis; None: the defaults.
        progress: receives the progress of three stages: the episodes, those of repeated prompts, and the sweep.
        stop: stop request. Finish: the batch of episodes under way is completed, and the episodes so far are analysed;
            the comparison of prompts and the sweep are left out unless they are complete.

    Raises:
        RunCancelledError: `stop` requested a cancel, or a finish before the first batch of episodes.
        InvalidValueError: the agent sets no gates, or an argument of the environment is invalid.
    """
    config = AnalysisConfig() if config is None else config
    env = replace(env, prompts=config.prompts)
    seed, num_envs = config.seed, min(config.num_envs, config.episodes)
    if stop is not None and stop.is_requested:
        raise RunCancelledError("The analysis was to end before its first episode.")
    vector_env = env.make(num_envs)
    try:
        recorder = Recorder(agent, rows=min(config.stories, num_envs))
        stage = f"Analysing {agent.name}"
        episodes = run_series(recorder, vector_env, config.episodes, seed, stage=stage, progress=progress, stop=stop)
    finally:
        vector_env.close()
    episodes = replace(episodes, infos={**episodes.infos, "neutral_entropy": recorder.neutral_entropy(episodes)})
    tokenizer = vector_env.bundle.tokenizer
    prompts = None
    if config.repeated_prompts and len(set(episodes.prompts)) > 1:
        prompts = _compare_prompts(agent, env, config, episodes, tokenizer, progress, stop)
    sweep: tuple[SweptSetting, ...] = ()
    if config.sweep_episodes:
        first = episodes.first(config.sweep_episodes)
        sweep = sweep_extremes(env, first, seed=seed, num_envs=num_envs, progress=progress, stop=stop)
    swept = min(config.sweep_episodes, config.episodes) if sweep else 0
    return Analysis(
        agent=agent.name,
        num_episodes=len(episodes.lengths),
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
    progress: Report,
    stop: StopRequest | None,
) -> PromptVariance | None:
    """Run the same number of episodes from the first few prompts only, so that each prompt has several episodes.

    None if the comparison was to finish before its last episode.
    """
    if stop is not None and stop.is_requested:
        stop.raise_if_cancelled()
        return None
    chosen = list(dict.fromkeys(episodes.prompts))[: config.repeated_prompts]
    texts = list(dict.fromkeys(tokenizer.decode(list(prompt), skip_special_tokens=True) for prompt in chosen))
    repeated = replace(env, prompts=texts, prompt_tokens=WHOLE_PROMPT)
    vector_env = repeated.make(min(config.num_envs, config.episodes))
    try:
        # A different seed, so that these episodes have random numbers of their own.
        stage, seed = "Repeating the prompts", config.seed + 1
        series = run_series(agent, vector_env, config.episodes, seed, stage=stage, progress=progress, stop=stop)
    finally:
        vector_env.close()
    if len(series.lengths) < config.episodes:
        return None
    decoded = {prompt: tokenizer.decode(list(prompt), skip_special_tokens=True) for prompt in set(series.prompts)}
    return prompt_variance(series, decoded, config.seed)
