"""What the benchmark came to, from whatever stages are done: the content of ``results.json``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.comparison import Comparison, Contestant, FrozenGateCost, compare, frozen_gate_costs
from agents.evaluation.intervals import Interval
from agents.evaluation.text_comparison import Gap, TextAdvantage, compare_texts
from agents.evaluation.text_measures import MEASURES
from tidal.benchmark.config import BenchmarkConfig
from tidal.benchmark.stages import (
    ORACLE,
    REFERENCES,
    STAGES_FOLDER,
    STATIC,
    baselines_of,
    controller_name,
    evaluation_stage,
    freezing_stage,
    stages_of,
    text_stage,
    training_stage,
    tuning_stage,
)
from tidal.jobs.provenance import provenance
from tidal.jobs.stage_results import StageResults
from tidal_gym.dynamics.actions import GATE_NAMES

LEARNED = "controller"
"""What the learned controllers are called together."""
STEPS_ALLOWED = 500_000
GAP_AIM = 0.85
NEARER_AIM = 5
CURVE_POINTS = 60
"""Most points that are kept of a learning curve."""

Json = dict[str, Any]


def collect_results(config: BenchmarkConfig, folder: Path, *, command: str = "") -> Json:
    """Put together what the stages in the folder found.

    Args:
        config: of the benchmark.
        folder: of the benchmark.
        command: the command line that made it.
    """
    stages = StageResults(folder / STAGES_FOLDER)
    names = [stage.name for stage in stages_of(config, folder)]
    done = {name: stages.read(name) for name in names if name in stages}
    contestants, evaluations = _contestants(config, done)
    comparison = compare(contestants, static=STATIC, oracle=ORACLE)
    frozen = _frozen_gates(config, done)
    texts = _text_advantages(config, done)
    results: Json = {
        "config": asdict(config),
        "command": command,
        "made_with": asdict(provenance()),
        "seconds": {name: content["seconds"] for name, content in done.items()},
        "missing": [name for name in names if name not in done],
        "budgets": _budgets(config, done),
        "comparison": asdict(comparison),
        "frozen_gates": [asdict(cost) | {"is_alive": cost.is_alive} for cost in frozen],
        "text": [
            asdict(text) | {"is_nearer": text.is_nearer, "is_significantly_farther": text.is_significantly_farther}
            for text in texts
        ],
        "agents": {name: _description(found) for name, found in evaluations.items()},
        "curves": [_curve(done[name]) for name in map(training_stage, config.training_seeds) if name in done],
        "samples": _samples(evaluations),
    }
    return results | {"claims": _claims(config, comparison, frozen, texts)}


def _contestants(config: BenchmarkConfig, done: Json) -> tuple[list[Contestant], dict[str, list[Json]]]:
    """Who has been evaluated: their returns, and their evaluations, several for the controllers."""
    kinds = (
        {baseline.name: "baseline" for baseline in baselines_of(config)}
        | dict.fromkeys(REFERENCES, "reference")
        | {ORACLE: "reference"}
    )
    evaluations = {name: [done[stage]] for name in kinds if (stage := evaluation_stage(name)) in done}
    learned = [evaluation_stage(controller_name(seed)) for seed in config.training_seeds]
    if runs := [done[stage] for stage in learned if stage in done]:
        evaluations = {LEARNED: runs, **evaluations}
    contestants = [
        Contestant(name, kinds.get(name, "learned"), _returns(found))  # type: ignore[arg-type]
        for name, found in evaluations.items()
    ]
    return contestants, evaluations


def _returns(evaluations: Sequence[Json]) -> NDArray[np.float64]:
    return np.array([evaluation["returns"] for evaluation in evaluations])


def _frozen_gates(config: BenchmarkConfig, done: Json) -> tuple[FrozenGateCost, ...]:
    seeds = [seed for seed in config.training_seeds if freezing_stage(seed) in done]
    if not seeds:
        return ()
    learned = _returns([done[evaluation_stage(controller_name(seed))] for seed in seeds])
    frozen = {gate: np.array([done[freezing_stage(seed)]["returns"][gate] for seed in seeds]) for gate in GATE_NAMES}
    return frozen_gate_costs(learned[:, : config.frozen_episodes], frozen)


def _text_advantages(config: BenchmarkConfig, done: Json) -> list[TextAdvantage]:
    """The controllers' texts against the best static gates', by every measure."""
    learned = [name for seed in config.training_seeds if (name := text_stage(controller_name(seed))) in done]
    if not learned or text_stage(STATIC) not in done:
        return []

    def gap(stage: str, measure: str) -> Gap:
        found = done[stage]["measures"][measure]
        return Gap(found["value"]["mean"], found["human"], np.array(found["left_out"]))

    return [
        compare_texts(measure, [gap(stage, measure) for stage in learned], gap(text_stage(STATIC), measure))
        for measure in MEASURES
    ]


def _budgets(config: BenchmarkConfig, done: Json) -> list[Json]:
    """Env steps that each method learned from or was tuned with, and what came out of it."""
    budgets = [
        {"name": LEARNED, "env_steps": done[stage]["env_steps"], "seed": done[stage]["seed"]}
        for stage in map(training_stage, config.training_seeds)
        if stage in done
    ]
    for baseline in baselines_of(config):
        if (stage := tuning_stage(baseline.name)) in done:
            found = done[stage]
            budgets.append({"name": baseline.name, **{key: found[key] for key in ("env_steps", "settings", "tried")}})
    return budgets


def _description(evaluations: Sequence[Json]) -> Json:
    """How an agent uses the gates and what it writes: means over its runs."""

    def mean(values: Iterable[float]) -> float:
        return float(np.mean(list(values)))

    first = evaluations[0]
    length = min(len(one["gates"][GATE_NAMES[0]]["by_step"]) for one in evaluations)
    return {
        "gates": {
            gate: {
                "mean": mean(one["gates"][gate]["mean"] for one in evaluations),
                "std": mean(one["gates"][gate]["std"] for one in evaluations),
                "by_step": np.mean([one["gates"][gate]["by_step"][:length] for one in evaluations], axis=0).tolist(),
            }
            for gate in GATE_NAMES
        },
        "term_sums": {term: mean(one["term_sums"][term] for one in evaluations) for term in first["term_sums"]},
        "text": {name: mean(one["text"][name] for one in evaluations) for name in first["text"]},
        "perplexity": mean(one["perplexity"] for one in evaluations),
        "sampling_entropy": mean(one["sampling_entropy"] for one in evaluations),
    }


def _curve(training: Json) -> list[Json]:
    points = [point for point in training["curve"] if point["episode_reward"] is not None]
    every = max(1, len(points) // CURVE_POINTS)
    return points[::-1][::every][::-1]  # the last one among them


def _samples(evaluations: dict[str, list[Json]]) -> list[Json]:
    """The first episodes, unselected, told by the first controller, the static gates and the oracle."""
    samples = []
    for name in (LEARNED, STATIC, ORACLE):
        for number, sample in enumerate(evaluations[name][0]["samples"][:2] if name in evaluations else ()):
            samples.append(
                {"agent": name, "episode": number, "return": sum(token["reward"] for token in sample["tokens"])}
                | {"prompt": sample["prompt"]}
                | {"tokens": [{"text": token["text"], "gates": token["gates"]} for token in sample["tokens"]]}
            )
    return samples


def _claims(
    config: BenchmarkConfig,
    comparison: Comparison,
    frozen: Sequence[FrozenGateCost],
    texts: Sequence[TextAdvantage],
) -> list[Json]:
    """The hypotheses for which there are results: text, whether it holds, and the evidence."""
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
