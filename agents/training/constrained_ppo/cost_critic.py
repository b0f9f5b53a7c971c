"""The cost critic of PPO-Lagrangian: a value network of costs for any SB3 actor-critic policy."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn


class CostCritic(nn.Module):
    """Value network of the expected discounted cost after an observation; shares no weights with the policy.

    Args:
        policy: policy whose features extractor, value network widths, activation, initialisation and optimizer the
            cost critic copies.
        learning_rate: learning rate of the optimizer.
    """

    def __init__(self, policy: ActorCriticPolicy, learning_rate: float) -> None:
        super().__init__()
        self.observation_space = policy.observation_space
        self.normalize_images = policy.normalize_images
        self.features_extractor = policy.make_features_extractor()
        widths = policy.net_arch.get("vf", []) if isinstance(policy.net_arch, dict) else policy.net_arch
        self.mlp_extractor = MlpExtractor(
            self.features_extractor.features_dim, {"pi": [], "vf": widths}, policy.activation_fn, policy.device
        )
        self.value_net = nn.Linear(self.mlp_extractor.latent_dim_vf, 1)
        if policy.ortho_init:  # with the gains of `ActorCriticPolicy._build`
            for module, gain in ((self.mlp_extractor, np.sqrt(2)), (self.value_net, 1.0)):
                module.apply(partial(policy.init_weights, gain=float(gain)))
        self.to(policy.device)
        self.optimizer = policy.optimizer_class(
            self.parameters(),
            lr=learning_rate,
            **policy.optimizer_kwargs,
        )

    def forward(self, observations: PyTorchObs) -> Tensor:
        """Cost values (B, 1) of observations (B, ...)."""
        inputs = preprocess_obs(observations, self.observation_space, normalize_images=self.normalize_images)
        return self.value_net(self.mlp_extractor.forward_critic(self.features_extractor(inputs)))

    @torch.no_grad()
    def predict(self, observations: PyTorchObs) -> Tensor:
        """Cost values (B, 1) of observations (B, ...), without gradients."""
        return self(observations)
