"""Collects the results of the finished stages of a benchmark: the content of ``results.json``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.baselines.tuning import Tuning
from agents.evaluation.comparison import Comparison, Contestant, FrozenGateCost, Kind, compare, frozen_gate_costs
from agents.evaluation.evaluation import Evaluation
from agents.evaluation.intervals import Interval
from agents.evaluation.text_comparison import TextAdvantage, compare_texts
from agents.evaluation.text_measures import MEASURES, TextMeasures
from lm.errors import CheckpointError
from lm.models.gate_names import GATE_NAMES
from lm.runs.provenance import provenance
from tidal.benchmark.config import BenchmarkConfig
from tidal.benchmark.stage_records import read_evaluation, require_episodes, require_gates
from tidal.benchmark.stages import (
    ORACLE,
    REFERENCES,
    STAGES_FOLDER,
    STATIC,
    FreezingStage,
    TrainingStage,
    baselines_of,
    controller_name,
    evaluation_stage,
    freezing_stage,
    stages_of,
    text_stage,
    training_stage,
    tuning_stage,
)
from tidal.stages.stage_results import StageResults

LEARNED = "controller"
"""Name of the learned controllers as a group."""
STEPS_ALLOWED = 500_000
GAP_AIM = 0.85
NEARER_AIM = 5
CURVE_POINTS = 60
"""Maximum number of points kept of a learning curve."""

Json = dict[str, Any]


def collect_results(config: BenchmarkConfig, folder: Path, *, command: str = "") -> Json:
    """Collect the results of the stages in the folder.

    Args:
        config: configuration of the benchmark.
        folder: folder of the benchmark.
        command: command line that ran it.
    """
    stages = StageResults(folder / STAGES_FOLDER)
    names = [stage.name for stage in stages_of(config, folder)]
    done = {name: stages.read(name) for name in names if name in stages}
    contestants, evaluations = _contestants(config, stages)
    comparison = compare(contestants, static=STATIC, oracle=ORACLE)
    frozen = _frozen_gates(config, stages)
    texts = _text_advantages(config, stages)
    results: Json = {
        "config": asdict(config),
        "command": command,
        "made_with": asdict(provenance()),
        "seconds": {name: content["seconds"] for name, content in done.items()},
        "missing": [name for name in names if name not in done],
        "budgets": _budgets(config, stages, done),
        "comparison": asdict(comparison),
        "frozen_gates": [asdict(cost) | {"is_alive": cost.is_alive} for cost in frozen],
        "text": [
            asdict(text) | {"is_nearer": text.is_nearer, "is_significantly_farther": text.is_significantly_farther}
            for text in texts
        ],
        "agents": {name: _description(found) for name, found in evaluations.items()},
        "curves": [_curve(training) for training in _trainings(config, stages)],
        "samples": _samples(evaluations),
    }
    return results | {"claims": _claims(config, comparison, frozen, texts)}


def _contestants(
    config: BenchmarkConfig, stages: StageResults
) -> tuple[list[Contestant], dict[str, list[Evaluation]]]:
    """Returns of the evaluated agents, and their evaluations by name; the controllers have several."""
    kinds: dict[str, Kind] = {
        **{baseline.name: "baseline" for baseline in baselines_of(config)},
        **dict.fromkeys(REFERENCES, "reference"),
        ORACLE: "reference",
    }
    evaluations = {name: _evaluations(config, stages, [name]) for name in kinds if evaluation_stage(name) in stages}
    learned = map(controller_name, config.training_seeds)
    if runs := _evaluations(config, stages, [name for name in learned if evaluation_stage(name) in stages]):
        evaluations = {LEARNED: runs, **evaluations}
    contestants = [Contestant(name, kinds.get(name, "learned"), _returns(found)) for name, found in evaluations.items()]
    return contestants, evaluations


def _evaluations(config: BenchmarkConfig, stages: StageResults, names: Iterable[str]) -> list[Evaluation]:
    episodes = {ORACLE: config.oracle_episodes}
    found = [read_evaluation(stages, evaluation_stage(name), episodes.get(name, config.episodes)) for name in names]
    if len({frozenset(one.term_sums) for one in found}) > 1:
        raise CheckpointError("The controllers' evaluations are damaged: they have different terms of the reward.")
    return found


def _returns(evaluations: Sequence[Evaluation]) -> NDArray[np.float64]:
    return np.array([evaluation.returns for evaluation in evaluations])


def _frozen_gates(config: BenchmarkConfig, stages: StageResults) -> tuple[FrozenGateCost, ...]:
    seeds = [seed for seed in config.training_seeds if freezing_stage(seed) in stages]
    if not seeds:
        return ()
    learned = _returns(_evaluations(config, stages, map(controller_name, seeds)))
    returns = [_frozen_returns(config, stages, freezing_stage(seed)) for seed in seeds]
    frozen = {gate: np.array([run[gate] for run in returns]) for gate in GATE_NAMES}
    return frozen_gate_costs(learned[:, : config.frozen_episodes], frozen)


def _frozen_returns(config: BenchmarkConfig, stages: StageResults, stage: str) -> dict[str, tuple[float, ...]]:
    returns = stages.record(stage, FreezingStage).returns
    require_gates(stage, "returns", returns)
    for gate in GATE_NAMES:
        require_episodes(stage, f"returns.{gate}", returns[gate], config.frozen_episodes)
    return returns


def _text_advantages(config: BenchmarkConfig, stages: StageResults) -> list[TextAdvantage]:
    """Differences between the controllers' texts and the best static gates' texts, for each measure."""
    names = [name for seed in config.training_seeds if (name := text_stage(controller_name(seed))) in stages]
    if not names or text_stage(STATIC) not in stages:
        return []
    learned = [stages.record(name, TextMeasures, "measures") for name in names]
    static = stages.record(text_stage(STATIC), TextMeasures, "measures")
    return [
        compare_texts(measure, [getattr(run, measure).gap for run in learned], getattr(static, measure).gap)
        for measure in MEASURES
    ]


def _trainings(config: BenchmarkConfig, stages: StageResults) -> list[TrainingStage]:
    names = map(training_stage, config.training_seeds)
    return [stages.record(name, TrainingStage) for name in names if name in stages]


def _budgets(config: BenchmarkConfig, stages: StageResults, done: Json) -> list[Json]:
    """Env steps that each method was trained or tuned with, and the result."""
    trainings = _trainings(config, stages)
    budgets: list[Json] = [{"name": LEARNED, "env_steps": one.env_steps, "seed": one.seed} for one in trainings]
    for baseline in baselines_of(config):
        if (stage := tuning_stage(baseline.name)) in done:
            found = Tuning.from_json(done[stage], stage)
            budgets.append(
                {"name": baseline.name, "env_steps": found.env_steps, "settings": dict(found.parameters)}
                | {"tried": found.num_settings}
            )
    return budgets


def _description(evaluations: Sequence[Evaluation]) -> Json:
    """Gate usage and text statistics of an agent: means over its runs."""

    def mean(values: Iterable[float]) -> float:
        return float(np.mean(list(values)))

    first = evaluations[0]
    length = min(len(one.gates[GATE_NAMES[0]].by_step) for one in evaluations)
    texts = [asdict(one.text) for one in evaluations]
    return {
        "gates": {
            gate: {
                "mean": mean(one.gates[gate].mean for one in evaluations),
                "std": mean(one.gates[gate].std for one in evaluations),
                "by_step": np.mean([one.gates[gate].by_step[:length] for one in evaluations], axis=0).tolist(),
            }
            for gate in GATE_NAMES
        },
        "term_sums": {term: mean(one.term_sums[term] for one in evaluations) for term in first.term_sums},
        "text": {name: mean(text[name] for text in texts) for name in texts[0]},
        "perplexity": mean(one.perplexity for one in evaluations),
        "sampling_entropy": mean(one.sampling_entropy for one in evaluations),
    }


def _curve(training: TrainingStage) -> list[Json]:
    points = [asdict(point) for point in training.curve if point.episode_reward is not None]
    every = max(1, len(points) // CURVE_POINTS)
    return points[::-1][::every][::-1]  # keeps the last point


def _samples(evaluations: dict[str, list[Evaluation]]) -> list[Json]:
    """The first episodes, unselected, of the first controller, the static gates and the oracle."""
    return [
        {
            "agent": name,
            "episode": number,
            "return": sample.total_reward,
            "prompt": sample.prompt,
            "tokens": [{"text": token.text, "gates": token.gates} for token in sample.tokens],
        }
        for name in (LEARNED, STATIC, ORACLE)
        for number, sample in enumerate(evaluations[name][0].samples[:2] if name in evaluations else ())
    ]


def _claims(
    config: BenchmarkConfig,
    comparison: Comparison,
    frozen: Sequence[FrozenGateCost],
    texts: Sequence[TextAdvantage],
) -> list[Json]:
    """The hypotheses that the results can test: claim, whether it holds, and the evidence."""
    claims = []

    def claim(text: str, holds: bool, evidence: str) -> None:
        claims.append({"claim": text, "holds": holds, "evidence": evidence})

    if comparison.advantages:
        strongest = comparison.advantages[0]
        level = [advantage.over for advantage in comparison.advantages if not advantage.is_apart]
        evidence = f"{_text(strongest.difference, '+.2f')} an episode over the strongest, {strongest.over}"
        evidence += f"; intervals of returns overlap with those of {', '.join(level)}" if level else ""
        claim("The controllers' interval lies above every baseline's", not level, evidence)
    for gap in comparison.gap_closed[:1]:
        steps = config.training.total_steps
        claim(
            f"At least {GAP_AIM:.0%} of the gap from {gap.over} to the oracle, within {STEPS_ALLOWED:,} env steps",
            gap.fraction.mean >= GAP_AIM and steps <= STEPS_ALLOWED,
            f"{_text(gap.fraction, '.0%')} with {steps:,}",
        )
    if frozen:
        dead = [cost.gate for cost in frozen if not cost.is_alive]
        evidence = ", ".join(f"{one.gate} {_text(one.cost, '+.2f')}" for one in frozen)
        claim("Freezing any gate at its mean costs return", not dead, evidence)
    if texts:
        nearer = [text.measure for text in texts if text.is_nearer]
        farther = [text.measure for text in texts if text.is_significantly_farther]
        evidence = f"nearer on {len(nearer)}, significantly farther on {len(farther)}"
        evidence += f": {', '.join(farther)}" if farther else ""
        holds = len(nearer) >= NEARER_AIM and not farther
        aim = f"at least {NEARER_AIM} of {len(texts)} measures, significantly farther on none"
        claim(f"Nearer to human text than {STATIC} on {aim}", holds, evidence.replace("_", " "))
    return claims


def _text(interval: Interval, form: str) -> str:
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"
