"""Agents for Tidal Gym: Beta policies, PPO training, baselines, evaluation, and controllers for generation.

Nothing heavy is imported here; a name is loaded from its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULE_OF = {
    "BetaDistribution": "beta_policy",
    "BetaPolicy": "beta_policy",
    "PPOLagrangian": "ppo_lagrangian",
    "VectorEnvToSB3": "sb3_adapter",
    "Agent": "agent",
    "EnvConfig": "env_config",
    "ConstraintConfig": "training_config",
    "PPOConfig": "training_config",
    "TrainConfig": "training_config",
    "WarmStartConfig": "training_config",
    "TrainingProgress": "learning_curve",
    "train": "training",
    "Controller": "controller",
    "Neutral": "baselines",
    "Random": "baselines",
    "Fixed": "baselines",
    "StaticTuning": "baselines",
    "tune_static": "baselines",
    "OneStepOracle": "oracle",
    "Planner": "planner",
    "Decoder": "decoders",
    "decoder": "decoders",
    "DecoderTuning": "decoder_tuning",
    "tune_decoder": "decoder_tuning",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "paired_difference": "evaluation",
    "TextMeasures": "text_measures",
    "TextMeasuresConfig": "text_measures",
    "compare_distances": "text_measures",
    "Analysis": "trajectory_analysis",
    "AnalysisConfig": "analysis_config",
    "analyze": "trajectory_analysis",
    "GatedGeneration": "gated_generation",
    "generate_tokens": "gated_generation",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"agents.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'agents' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
