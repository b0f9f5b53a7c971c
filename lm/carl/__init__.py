"""CARL: coherence-aware rewards from a language model's own predictions, as published and as they can be trusted.

A name is loaded from its module when it is first used. `lm.carl.training` and its data are imported by themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULE_OF = {
    "KAPPA": "constants",
    "SIGMA": "constants",
    "KAPPA_SIGMA": "constants",
    "DEFECT_THRESHOLD": "constants",
    "t_star": "constants",
    "compute_phi": "field",
    "token_field": "field",
    "TokenField": "field",
    "multiscale_coherence": "scores",
    "cloud_quality": "scores",
    "discontinuity_score": "scores",
    "novelty": "new_grams",
    "carl_reward": "reward",
    "CarlWeights": "options",
    "PhaseAdaptiveWeights": "phases",
    "kuramoto_order": "phases",
    "GrowingReward": "incremental",
    "coherence_gate": "gates",
    "GateDecision": "gates",
    "PhaseTransitionGate": "gates",
    "agent_step": "agent",
    "AgentStep": "agent",
    "CarlGRPOReward": "grpo_reward",
    "CarlTrainConfig": "training_config",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"lm.carl.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'lm.carl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
