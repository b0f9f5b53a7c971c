"""The demonstration: tune the best static setting, train a controller, and compare both on held-out prompts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.baselines.baselines import STATIC_GATES, Neutral, Random
from agents.baselines.oracle import OneStepOracle
from agents.baselines.tuning import Tuning, tune
from agents.baselines.tuning_strategies import SuccessiveHalving
from agents.episodes.env_config import EnvConfig
from agents.episodes.stories import Story
from agents.evaluation.evaluation import Evaluation, evaluate, paired_difference
from agents.evaluation.intervals import Interval
from agents.evaluation.rl_statistics import gap_closed
from agents.training.config import TrainConfig
from agents.training.learning_curve import TrainingProgress, read_learning_curve
from agents.training.run import CURVE_FILE, train
from lm.models.bundle import load_bundle
from lm.runs.provenance import Provenance, provenance
from lm.runs.run_folder import claimed
from lm.runs.whole_file import write_json
from tidal.demo.config import DemoConfig

RESULTS_FILE = "results.json"
TRAINING_FOLDER = "training"
STORY_EPISODE = 0
"""Index of the evaluated episode shown as a story: the first one, unselected."""

ShowPhase = Callable[[str], AbstractContextManager[Callable[..., None]]]
"""Type of ``tidal.cli.console.progress``: a context manager that yields an update function."""


@dataclass(frozen=True)
class DemoResult:
    """Result of a demonstration, with all that the report shows."""

    config: DemoConfig
    training: TrainConfig
    tuning: Tuning
    curve: tuple[TrainingProgress, ...]
    evaluations: dict[str, Evaluation]
    """Evaluations by agent (neutral, random, best static, controller), on the same episodes."""
    oracle: Evaluation | None
    """Evaluation of the one-step oracle on the first of these episodes; None if it was skipped."""
    seconds: dict[str, float]
    """Duration of each phase [s]."""
    made_with: Provenance = field(default_factory=provenance)

    @property
    def controller(self) -> Evaluation:
        """Evaluation of the learned controller."""
        return self.evaluations["controller"]

    @property
    def best_static(self) -> Evaluation:
        """Evaluation of the best static setting."""
        return self.evaluations["best static"]

    @property
    def stories(self) -> tuple[Story, ...]:
        """The same episode with neutral gates, the best static setting and the controller."""
        return tuple(self.evaluations[name].samples[STORY_EPISODE] for name in ("neutral", "best static", "controller"))

    @property
    def advantage(self) -> Interval:
        """Mean paired difference of returns: controller minus best static setting."""
        return paired_difference(self.controller, self.best_static)

    @property
    def is_better(self) -> bool:
        """Whether the controller beats the best static setting."""
        return self.advantage.mean > 0

    @property
    def gap_closed(self) -> float | None:
        """Share of the gap from best static setting to oracle that the controller closes, on the oracle's episodes."""
        if self.oracle is None:
            return None
        returns = (np.array([agent.returns]) for agent in (self.controller, self.best_static, self.oracle))
        fraction = gap_closed(*returns)
        return None if fraction is None else float(fraction[0])

    @property
    def is_gap_narrower(self) -> bool:
        """Whether the gap to the oracle is known and positive."""
        return self.is_better and self.gap_closed is not None and self.gap_closed > 0

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        evaluations = [*self.evaluations.values(), *([self.oracle] if self.oracle else [])]
        return {
            "config": asdict(self.config),
            "training": asdict(self.training),
            "is_better": self.is_better,
            "advantage": asdict(self.advantage),
            "gap_closed": self.gap_closed,
            "tuning": self.tuning.to_json(),
            "evaluations": {evaluation.agent: json.loads(evaluation.to_json()) for evaluation in evaluations},
            "seconds": self.seconds,
            "made_with": asdict(self.made_with),
        }


def run_demo(config: DemoConfig, output: str | Path, show: ShowPhase, *, overwrite: bool = False) -> DemoResult:
    """Run the demonstration; writes the training run and ``results.json`` into the folder.

    Args:
        config: configuration of the demonstration.
        output: output folder.
        show: shows the progress of each phase.
        overwrite: replace the demonstration that the folder holds.

    Raises:
        OutputExistsError: the folder is not empty, and `overwrite` is False.
    """
    with claimed(output, "demo", config, resume=None, overwrite=overwrite) as folder:
        return _run_in(folder, config, show)


def _run_in(folder: Path, config: DemoConfig, show: ShowPhase) -> DemoResult:
    env = EnvConfig(model=config.model)
    seconds: dict[str, float] = {}

    @contextmanager
    def phase(name: str) -> Iterator[Callable[..., None]]:
        started = time.perf_counter()
        with show(name) as update:
            yield update
        seconds[name] = time.perf_counter() - started

    with phase("Loading the model"):
        load_bundle(config.model, dtype="auto")
    training = TrainConfig(env=env, total_steps=config.steps, seed=config.seed)
    # Training ends with a whole update; tuning uses at least as many steps.
    budget = training.num_updates * training.ppo.steps_per_update
    with phase(f"Tuning {config.settings} settings") as update:
        tuning = tune(
            STATIC_GATES.name,
            env,
            env_steps=budget,
            is_minimum=True,
            strategy=SuccessiveHalving(config.settings),
            seed=config.seed + 1,  # random numbers that differ from the evaluation's
            progress=lambda report: update(report.done, report.total),
        )
    with phase("Training the controller") as update:
        controller = train(
            training,
            folder / TRAINING_FOLDER,
            progress=lambda report: update(report.done, report.total),
        )
    agents = (Neutral(), Random(), tuning.agent(), controller)
    evaluations = {}
    for agent in agents:
        with phase(f"Evaluating {agent.name}") as update:
            evaluations[agent.name] = evaluate(
                agent,
                env,
                episodes=config.episodes,
                seed=config.seed,
                progress=lambda report: update(report.done, report.total),
            )
    oracle = None
    if config.oracle_episodes > 0:
        with phase("Evaluating the oracle"):
            oracle = evaluate(
                OneStepOracle(config.oracle_levels), env, episodes=config.oracle_episodes, seed=config.seed
            )
    curve = tuple(read_learning_curve(folder / TRAINING_FOLDER / CURVE_FILE))
    result = DemoResult(config, training, tuning, curve, evaluations, oracle, seconds)
    write_json(folder / RESULTS_FILE, result.to_json())
    return result
