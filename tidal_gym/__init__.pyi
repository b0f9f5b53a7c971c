from .dynamics.modulation import ModulationConfig as ModulationConfig
from .dynamics.observation import OBSERVATION_NAMES as OBSERVATION_NAMES
from .envs.env import TidalGatingEnv as TidalGatingEnv
from .envs.rlm.env import TidalRLMEnv as TidalRLMEnv
from .envs.rlm.vector_env import TidalRLMVectorEnv as TidalRLMVectorEnv
from .envs.vector_env import TidalGatingVectorEnv as TidalGatingVectorEnv
from .rewards.costs import register_cost as register_cost
from .rewards.rewards import register_reward as register_reward
from .wrappers.carl_config import CarlRewardConfig as CarlRewardConfig
from .wrappers.carl_reward import CarlReward as CarlReward, VectorCarlReward as VectorCarlReward
