"""Tidal Gym's environments: decoding a language model, token by token, as a control problem.

``import tidal_gym`` registers ``TidalGating-v0`` and ``TidalRLM-v0`` with Gymnasium. Nothing heavy is imported here:
torch and transformers come with the first environment that is made.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

from tidal_gym.episode_limit import DEFAULT_EPISODE_STEPS, ENTRY_POINT, RLM_ENTRY_POINT

if TYPE_CHECKING:
    from tidal_gym.carl_config import CarlRewardConfig
    from tidal_gym.carl_reward import CarlReward, VectorCarlReward
    from tidal_gym.costs import register_cost
    from tidal_gym.env import TidalGatingEnv
    from tidal_gym.modulation import ModulationConfig
    from tidal_gym.observation import OBSERVATION_NAMES
    from tidal_gym.rewards import register_reward
    from tidal_gym.rlm_env import TidalRLMEnv
    from tidal_gym.rlm_vector_env import TidalRLMVectorEnv
    from tidal_gym.vector_env import TidalGatingVectorEnv

_LAZY_ATTRIBUTES = {
    "CarlReward": "tidal_gym.carl_reward",
    "CarlRewardConfig": "tidal_gym.carl_config",
    "VectorCarlReward": "tidal_gym.carl_reward",
    "TidalGatingEnv": "tidal_gym.env",
    "TidalGatingVectorEnv": "tidal_gym.vector_env",
    "ModulationConfig": "tidal_gym.modulation",
    "OBSERVATION_NAMES": "tidal_gym.observation",
    "register_cost": "tidal_gym.costs",
    "register_reward": "tidal_gym.rewards",
    "TidalRLMEnv": "tidal_gym.rlm_env",
    "TidalRLMVectorEnv": "tidal_gym.rlm_vector_env",
}

__all__ = [
    "OBSERVATION_NAMES",
    "CarlReward",
    "CarlRewardConfig",
    "ModulationConfig",
    "TidalGatingEnv",
    "TidalGatingVectorEnv",
    "TidalRLMEnv",
    "TidalRLMVectorEnv",
    "VectorCarlReward",
    "register_cost",
    "register_reward",
]

gymnasium.register(
    id="TidalGating-v0",
    entry_point=ENTRY_POINT,
    vector_entry_point="tidal_gym.vector_env:TidalGatingVectorEnv",
    max_episode_steps=DEFAULT_EPISODE_STEPS,
)

gymnasium.register(
    id="TidalRLM-v0",
    entry_point=RLM_ENTRY_POINT,
    vector_entry_point="tidal_gym.rlm_vector_env:TidalRLMVectorEnv",
)


def __getattr__(name: str) -> Any:
    if name in _LAZY_ATTRIBUTES:
        return getattr(importlib.import_module(_LAZY_ATTRIBUTES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY_ATTRIBUTES])
