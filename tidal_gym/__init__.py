"""Tidal Gym's environments: decoding a language model, token by token, as a control problem.

``import tidal_gym`` registers ``TidalGating-v0`` and ``TidalRLM-v0`` with Gymnasium. torch and transformers are only
imported when the first environment is made.
"""

import gymnasium
import lazy_loader

from tidal_gym.envs.episode_limit import DEFAULT_EPISODE_STEPS, ENTRY_POINT, RLM_ENTRY_POINT

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

gymnasium.register(
    id="TidalGating-v0",
    entry_point=ENTRY_POINT,
    vector_entry_point="tidal_gym.envs.vector_env:TidalGatingVectorEnv",
    max_episode_steps=DEFAULT_EPISODE_STEPS,
)

gymnasium.register(
    id="TidalRLM-v0",
    entry_point=RLM_ENTRY_POINT,
    vector_entry_point="tidal_gym.envs.rlm.vector_env:TidalRLMVectorEnv",
)
