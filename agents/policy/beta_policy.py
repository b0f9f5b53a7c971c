"""A Beta policy for Stable-Baselines3: actions lie within their bounds, without clipping.

A Gaussian policy on a bounded box puts mass outside it; clipping that mass biases the policy gradient towards the
bounds. A Beta distribution has the box as its support (Chou, Maturana and Scherer, "Improving Stochastic Policy
Gradients in Continuous Control with Deep Reinforcement Learning using the Beta Distribution", ICML 2017).
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn
from torch.distributions import Beta, kl_divergence

from lm.errors import InvalidValueError

MIN_CONCENTRATION = 1.001
MAX_CONCENTRATION = 1000.0
# Distance from 0 and 1 at which unit actions are clamped: there the density of a Beta is 0, its logarithm -inf.
BOUNDARY = 1e-6


class BetaDistribution(Distribution):
    """Independent Beta distributions over the dimensions of a bounded Box.

    With unit actions u in (0, 1) and action = low + (high - low) u, the density of the action is that of u divided by
    the widths: log p(a) = Σ_i [log Beta(u_i; α_i, β_i) - log(high_i - low_i)]. All of it is computed in float64, since
    lgamma(2000) has only three decimals in float32, as many as a PPO ratio needs.

    Args:
        low: (A,) lower bounds of the action.
        high: (A,) upper bounds of the action.
        min_concentration: floor of α and β, above 1 so that every density is unimodal: float32 gives softplus(-17) + 1
            as exactly 1, where mode and curvature vanish.
        max_concentration: cap of α and β. The narrowest policy, 1000 for both, has a standard deviation of 0.011.
    """

    distribution: Beta

    def __init__(
        self,
        low: Tensor,
        high: Tensor,
        *,
        min_concentration: float = MIN_CONCENTRATION,
        max_concentration: float = MAX_CONCENTRATION,
    ) -> None:
        super().__init__()
        self.low = low.flatten().double()
        self.width = high.flatten().double() - self.low
        self.min_concentration = min_concentration
        self.max_concentration = max_concentration

    def proba_distribution_net(self, latent_dim: int) -> nn.Module:
        """The policy head: maps `latent_dim` features to (B, 2 A) raw concentrations, those of α first."""
        return nn.Linear(latent_dim, 2 * self.low.numel())

    def proba_distribution(self, raw_concentrations: Tensor) -> BetaDistribution:
        """Set α, β = 1 + softplus(raw), limited by floor and cap, from raw (B, 2 A)."""
        self.low, self.width = self.low.to(raw_concentrations.device), self.width.to(raw_concentrations.device)
        concentrations = 1.0 + F.softplus(raw_concentrations.double())
        concentrations = concentrations.clamp(self.min_concentration, self.max_concentration)
        alpha, beta = concentrations.chunk(2, dim=-1)
        self.distribution = Beta(alpha, beta, validate_args=False)
        return self

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log density (B,) of actions (B, A) [nats]; actions on the boundary count as just inside it."""
        unit = ((actions.flatten(1).double() - self.low) / self.width).clamp(BOUNDARY, 1.0 - BOUNDARY)
        return (self.distribution.log_prob(unit) - self.width.log()).sum(dim=1).float()

    def entropy(self) -> Tensor:
        """Differential entropy (B,) of the action [nats]."""
        return (self.distribution.entropy() + self.width.log()).sum(dim=1).float()

    def kl_divergence(self, other: BetaDistribution) -> Tensor:
        """KL(self || other) (B,) [nats], in closed form; it does not depend on the box."""
        return kl_divergence(self.distribution, other.distribution).sum(dim=1).float()

    def sample(self) -> Tensor:
        """Draw actions (B, A), strictly inside the box."""
        return self._to_box(self.distribution.rsample().clamp(BOUNDARY, 1.0 - BOUNDARY))

    def mode(self) -> Tensor:
        """The deterministic action: the mean (B, A), which unlike the mode never lies on the bounds."""
        return self._to_box(self.distribution.mean)

    def actions_from_params(self, raw_concentrations: Tensor, deterministic: bool = False) -> Tensor:
        """Actions (B, A) for raw concentrations (B, 2 A)."""
        return self.proba_distribution(raw_concentrations).get_actions(deterministic=deterministic)

    def log_prob_from_params(self, raw_concentrations: Tensor) -> tuple[Tensor, Tensor]:
        """Sampled actions (B, A) and their log densities (B,) for raw concentrations (B, 2 A)."""
        actions = self.actions_from_params(raw_concentrations)
        return actions, self.log_prob(actions)

    def _to_box(self, unit: Tensor) -> Tensor:
        return (self.low + self.width * unit).float()


class BetaPolicy(ActorCriticPolicy):
    """Actor-critic policy with a Beta distribution over a bounded Box. Use it as ``PPO(BetaPolicy, env)``.

    Args:
        min_concentration: floor of the concentrations, above 1.
        max_concentration: cap of the concentrations.
        Others: as for SB3's ``ActorCriticPolicy``; `use_sde` and `squash_output` do not apply.

    Raises:
        InvalidValueError: the action space is not a bounded Box, limits are invalid, or `use_sde` is True.
    """

    action_dist: BetaDistribution

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *args: Any,
        min_concentration: float = MIN_CONCENTRATION,
        max_concentration: float = MAX_CONCENTRATION,
        **kwargs: Any,
    ) -> None:
        if not isinstance(action_space, spaces.Box) or not action_space.is_bounded("both"):
            raise InvalidValueError("action_space", "must be a Box with finite bounds", action_space)
        if not min_concentration > 1.0:
            raise InvalidValueError("min_concentration", "must be above 1", min_concentration)
        if not max_concentration > min_concentration:
            rule = f"must be above `min_concentration` ({min_concentration})"
            raise InvalidValueError("max_concentration", rule, max_concentration)
        # Set before the parent's constructor, which calls `_build`.
        self.min_concentration = min_concentration
        self.max_concentration = max_concentration
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        if self.use_sde:
            raise InvalidValueError("use_sde", "must be False for a Beta policy", self.use_sde)
        super()._build(lr_schedule)  # builds a Gaussian head, replaced below
        box = cast(spaces.Box, self.action_space)
        self.action_dist = BetaDistribution(
            torch.as_tensor(box.low),
            torch.as_tensor(box.high),
            min_concentration=self.min_concentration,
            max_concentration=self.max_concentration,
        )
        del self.log_std
        self.action_net = self.action_dist.proba_distribution_net(self.mlp_extractor.latent_dim_pi)
        if self.ortho_init:
            # SB3's small gain: every state starts at nearly the same Beta(1.69, 1.69).
            self.action_net.apply(partial(self.init_weights, gain=0.01))
        # The optimizer made by the parent still holds the Gaussian head, so the new one would never train.
        learning_rate = lr_schedule(1)
        self.optimizer = self.optimizer_class(self.parameters(), lr=learning_rate, **self.optimizer_kwargs)

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> BetaDistribution:
        # SB3 stores each state's distribution in the policy, where threads would overwrite each other's.
        return copy.copy(self.action_dist).proba_distribution(self.action_net(latent_pi))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = super()._get_constructor_parameters()
        parameters.update(min_concentration=self.min_concentration, max_concentration=self.max_concentration)
        return parameters
