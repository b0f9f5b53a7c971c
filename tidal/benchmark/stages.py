"""The stages of the benchmark: what each computes, and the result it stores.

Each stage function runs in a process of its own and returns plain data. To add a baseline, add its family to
``agents.baselines.tuning.FAMILIES`` and its line to :func:`baselines_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from agents.baselines.baselines import STATIC_GATES, Neutral, Random
from agents.baselines.frozen_gate import FrozenGate
from agents.baselines.oracle import OneStepOracle
from agents.baselines.tuning import Tuning, tune
from agents.baselines.tuning_strategies import Strategy, SuccessiveHalving
from agents.episodes.agent import Agent
from agents.evaluation.evaluation import Evaluation, evaluate
from agents.evaluation.text_measures_config import TextMeasuresConfig
from agents.policy.controller import Controller
from agents.training.config import TrainConfig
from agents.training.learning_curve import read_learning_curve
from agents.training.run import CONTROLLER_FOLDER, CURVE_FILE, train
from lm.models.gate_names import GATE_NAMES
from tidal.benchmark.config import BenchmarkConfig
from tidal.benchmark.stage_records import read_evaluation
from tidal.stages.schedule import Stage
from tidal.stages.stage_results import StageResults

STATIC, ORACLE = "best static", "one-step oracle"
REFERENCES: dict[str, Callable[[], Agent]] = {"neutral": Neutral, "random": Random}
"""Reference agents by name: evaluated, but not tuned."""
STAGES_FOLDER, CONTROLLERS_FOLDER = "stages", "controllers"
NUM_SAMPLES = 4
"""Number of episodes of each agent whose texts are stored."""


@dataclass(frozen=True)
class CurvePoint:
    """A point of a controller's learning curve, as its stage stores it."""

    step: int
    """Env steps so far."""
    episode_reward: float | None
    """Mean return of the newest episodes; None before the first ends."""
    gate_stds: tuple[float, ...]
    """Standard deviation of each gate."""


@dataclass(frozen=True)
class TrainingStage:
    """Result of the stage that trains a controller."""

    seed: int
    """Seed of the training."""
    env_steps: int
    """Env steps that the controller learned from."""
    curve: tuple[CurvePoint, ...]
    """Its learning curve."""


@dataclass(frozen=True)
class FreezingStage:
    """Result of the stage that freezes the gates of a controller."""

    seed: int
    """Seed of the training."""
    frozen_at: dict[str, float]
    """Value that each gate was frozen at."""
    returns: dict[str, tuple[float, ...]]
    """Returns of the episodes with each gate frozen."""


@dataclass(frozen=True)
class Baseline:
    """A family that is tuned with at least ``config.baseline_steps`` env steps."""

    name: str
    """Name in tables."""
    family: str
    """Name of the family, one of ``agents.baselines.tuning.FAMILIES``."""
    strategy: Strategy | None = None
    """Search strategy; None: that of the family."""


def baselines_of(config: BenchmarkConfig) -> tuple[Baseline, ...]:
    """The tuned baselines that controllers are compared with."""
    static = Baseline(STATIC, STATIC_GATES.name, SuccessiveHalving(config.static_settings))
    return (static, *(Baseline(name, name) for name in config.decoders))


def stages_of(config: BenchmarkConfig, folder: Path) -> list[Stage]:
    """All stages in the order of their start: slow stages and those that others need come first."""
    steps = config.env_steps_of_episodes
    stages = [_tuning(config, STATIC)]
    if config.oracle_episodes > 0:
        actions = len(OneStepOracle(config.oracle_levels).grid)
        cost = steps(config.oracle_episodes) * actions / 4
        stages.append(Stage(evaluation_stage(ORACLE), partial(ask_oracle, config), cost=cost))
    for name in REFERENCES:
        stages.append(
            Stage(evaluation_stage(name), partial(evaluate_reference, config, name), cost=0.5 * steps(config.episodes))
        )
    for baseline in baselines_of(config):
        tuning = tuning_stage(baseline.name)
        if baseline.name != STATIC:
            stages.append(_tuning(config, baseline.name))
        work = partial(evaluate_baseline, config, folder, baseline.name)
        stages.append(Stage(evaluation_stage(baseline.name), work, (tuning,), 0.5 * steps(config.episodes)))
        if config.text_episodes > 0:
            stages.append(_measuring(config, folder, baseline.name, tuning))
    for seed in config.training_seeds:
        training, evaluation = training_stage(seed), evaluation_stage(controller_name(seed))
        stages.append(Stage(training, partial(train_controller, config, folder, seed), cost=config.learning_steps))
        work = partial(evaluate_controller, config, folder, seed)
        stages.append(Stage(evaluation, work, (training,), 0.5 * steps(config.episodes)))
        if config.text_episodes > 0:
            stages.append(_measuring(config, folder, controller_name(seed), training))
        if config.frozen_episodes > 0:
            work = partial(freeze_gates, config, folder, seed)
            cost = 0.5 * len(GATE_NAMES) * steps(config.frozen_episodes)
            stages.append(Stage(freezing_stage(seed), work, (evaluation,), cost))
    return stages


def _tuning(config: BenchmarkConfig, name: str) -> Stage:
    return Stage(tuning_stage(name), partial(tune_baseline, config, name), cost=0.5 * config.baseline_steps)


def _measuring(config: BenchmarkConfig, folder: Path, name: str, needs: str) -> Stage:
    work = partial(measure_text, config, folder, name)
    return Stage(text_stage(name), work, (needs,), 2.0 * config.env_steps_of_episodes(config.text_episodes))


def controller_name(seed: int) -> str:
    """Name of the controller of a training seed."""
    return f"controller {seed}"


def training_stage(seed: int) -> str:
    """Name of the stage that trains the controller of a seed."""
    return f"train {controller_name(seed)}"


def freezing_stage(seed: int) -> str:
    """Name of the stage that freezes the gates of a seed's controller."""
    return f"freeze {controller_name(seed)}"


def evaluation_stage(name: str) -> str:
    """Name of the stage that evaluates an agent."""
    return f"evaluate {name}"


def text_stage(name: str) -> str:
    """Name of the stage that measures an agent's texts."""
    return f"measure {name}"


def tuning_stage(name: str) -> str:
    """Name of the stage that tunes a baseline."""
    return f"tune {name}"


# Stage functions


def tune_baseline(config: BenchmarkConfig, name: str) -> dict[str, Any]:
    """Tune a baseline on the training prompts."""
    baseline = _baseline(config, name)
    return tune(
        baseline.family,
        config.training.env,
        env_steps=config.baseline_steps,
        is_minimum=True,
        num_envs=config.training.ppo.num_envs,
        strategy=baseline.strategy,
        seed=config.tuning_seed,
    ).to_json()


def train_controller(config: BenchmarkConfig, folder: Path, seed: int) -> dict[str, Any]:
    """Train a controller, or continue from its last checkpoint."""
    training = _training(config, seed)
    run_folder = controller_folder(folder, seed)
    controller = train(training, run_folder, resume=run_folder.exists())
    curve = tuple(
        CurvePoint(point.step, point.episode_reward, point.gate_stds)
        for point in read_learning_curve(run_folder / CURVE_FILE)
    )
    return asdict(TrainingStage(seed, controller.metrics["step"], curve))


def evaluate_reference(config: BenchmarkConfig, name: str) -> dict[str, Any]:
    """Evaluate a reference agent."""
    return _evaluated(config, REFERENCES[name](), config.episodes)


def evaluate_baseline(config: BenchmarkConfig, folder: Path, name: str) -> dict[str, Any]:
    """Evaluate a tuned baseline."""
    return _evaluated(config, _tuned(config, folder, name), config.episodes)


def evaluate_controller(config: BenchmarkConfig, folder: Path, seed: int) -> dict[str, Any]:
    """Evaluate a controller."""
    return _evaluated(config, _controller(folder, seed), config.episodes)


def ask_oracle(config: BenchmarkConfig) -> dict[str, Any]:
    """Evaluate the one-step oracle on the first few episodes."""
    return _evaluated(config, OneStepOracle(config.oracle_levels), config.oracle_episodes)


def measure_text(config: BenchmarkConfig, folder: Path, name: str) -> dict[str, Any]:
    """Compare the texts of a controller or a tuned baseline in the first episodes with human text."""
    agents = {controller_name(seed): partial(_controller, folder, seed) for seed in config.training_seeds}
    agent = agents[name]() if name in agents else _tuned(config, folder, name)
    return {"measures": asdict(_evaluate(config, agent, config.text_episodes, config.text))["measures"]}


def freeze_gates(config: BenchmarkConfig, folder: Path, seed: int) -> dict[str, Any]:
    """Evaluate a controller with one gate at a time frozen at its mean in the controller's evaluation."""
    stages = StageResults(folder / STAGES_FOLDER)
    usage = read_evaluation(stages, evaluation_stage(controller_name(seed)), config.episodes).gates
    controller = _controller(folder, seed)
    evaluations = {
        gate: _evaluate(config, FrozenGate(controller, gate, usage[gate].mean), config.frozen_episodes)
        for gate in GATE_NAMES
    }
    returns = {gate: evaluation.returns for gate, evaluation in evaluations.items()}
    return asdict(FreezingStage(seed, {gate: usage[gate].mean for gate in GATE_NAMES}, returns))


def controller_folder(folder: Path, seed: int) -> Path:
    """Folder of the training run of a seed."""
    return folder / CONTROLLERS_FOLDER / f"seed-{seed}"


def _training(config: BenchmarkConfig, seed: int) -> TrainConfig:
    return replace(config.training, seed=seed)


def _controller(folder: Path, seed: int) -> Controller:
    controller = Controller.load(controller_folder(folder, seed) / CONTROLLER_FOLDER)
    controller.name = controller_name(seed)
    return controller


def _baseline(config: BenchmarkConfig, name: str) -> Baseline:
    return next(baseline for baseline in baselines_of(config) if baseline.name == name)


def _tuned(config: BenchmarkConfig, folder: Path, name: str) -> Agent:
    stage = tuning_stage(name)
    agent = Tuning.from_json(StageResults(folder / STAGES_FOLDER).read(stage), stage).agent()
    agent.name = name
    return agent


def _evaluate(
    config: BenchmarkConfig, agent: Agent, episodes: int, measures: TextMeasuresConfig | None = None
) -> Evaluation:
    return evaluate(
        agent,
        config.training.env,
        prompts=config.heldout_prompts,
        episodes=episodes,
        seed=config.evaluation_seed,
        num_samples=NUM_SAMPLES,
        measures=measures,
    )


def _evaluated(config: BenchmarkConfig, agent: Agent, episodes: int) -> dict[str, Any]:
    return asdict(_evaluate(config, agent, episodes))
