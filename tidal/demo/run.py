"""The demonstration: tune the best static setting, train a controller, and compare both on held-out prompts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from lm.runs.progress import Progress, Report, ignore
from lm.runs.provenance import Provenance, provenance
from lm.runs.run_folder import claimed
from lm.runs.stop import StopRequest
from lm.runs.whole_file import write_json
from tidal.demo.config import DemoConfig

RESULTS_FILE = "results.json"
TRAINING_FOLDER = "training"
STORY_EPISODE = 0
"""Index of the evaluated episode shown as a story: the first one, unselected."""


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


def run_demo(
    config: DemoConfig,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> DemoResult:
    """Run the demonstration; writes the training run and ``results.json`` into the folder.

    Args:
        config: configuration of the demonstration.
        output: output folder.
        overwrite: replace the demonstration that the folder holds.
        progress: receives the progress of tuning, training and evaluations.
        stop: stop request. Finish: tuning and training end early, and the oracle is skipped; the other agents are
            evaluated on all episodes. Cancel: the demonstration ends without results.

    Raises:
        RunCancelledError: `stop` requested a cancel.
        OutputExistsError: the folder is not empty, and `overwrite` is False.
    """
    with claimed(output, "demo", config, resume=None, overwrite=overwrite) as folder:
        return _run_in(folder, config, progress, stop)


def _run_in(folder: Path, config: DemoConfig, progress: Report, stop: StopRequest | None) -> DemoResult:
    env = EnvConfig(model=config.model)
    seconds: dict[str, float] = {}

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - started

    with phase("Loading the model"):
        progress(Progress("Loading the model", 0))
        load_bundle(config.model, dtype="auto")
    training = TrainConfig(env=env, total_steps=config.steps, seed=config.seed)
    # Training ends with a whole update; tuning uses at least as many steps.
    budget = training.num_updates * training.ppo.steps_per_update
    with phase(f"Tuning {config.settings} settings"):
        tuning = tune(
            STATIC_GATES.name,
            env,
            env_steps=budget,
            is_minimum=True,
            strategy=SuccessiveHalving(config.settings),
            seed=config.seed + 1,  # random numbers that differ from the evaluation's
            progress=progress,
            stop=stop,
        )
    with phase("Training the controller"):
        controller = train(training, folder / TRAINING_FOLDER, progress=progress, stop=stop)
    whole: dict[str, Any] = {"progress": progress, "stop": None if stop is None else stop.cancel_only()}
    agents = (Neutral(), Random(), tuning.agent(), controller)
    evaluations = {}
    for agent in agents:
        with phase(f"Evaluating {agent.name}"):
            evaluations[agent.name] = evaluate(agent, env, episodes=config.episodes, seed=config.seed, **whole)
    oracle = None
    if config.oracle_episodes > 0 and not (stop is not None and stop.is_requested):
        with phase("Evaluating the oracle"):
            agent = OneStepOracle(config.oracle_levels)
            oracle = evaluate(agent, env, episodes=config.oracle_episodes, seed=config.seed, **whole)
    curve = tuple(read_learning_curve(folder / TRAINING_FOLDER / CURVE_FILE))
    result = DemoResult(config, training, tuning, curve, evaluations, oracle, seconds)
    write_json(folder / RESULTS_FILE, result.to_json())
    return result
