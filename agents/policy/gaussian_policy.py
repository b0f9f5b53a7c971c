"""SB3's Gaussian policy, thread-safe."""

from __future__ import annotations

import copy

from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor


class GaussianPolicy(ActorCriticPolicy):
    """SB3's policy with a diagonal Gaussian over the actions. Use it as ``PPO(GaussianPolicy, env)``."""

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        # SB3 stores each state's distribution in the policy, where threads would overwrite each other's.
        return copy.copy(self.action_dist).proba_distribution(self.action_net(latent_pi), self.log_std)
