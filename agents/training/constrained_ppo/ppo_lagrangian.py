"""PPO-Lagrangian for Stable-Baselines3: PPO under a cost constraint.

PPO-Lagrangian (Ray, Achiam and Amodei, "Benchmarking Safe Exploration in Deep Reinforcement Learning", 2019) in the
form of OmniSafe (arXiv:2305.09304). Rollout collection, clipped loss and saving are those of SB3 2.9.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from agents.training.constrained_ppo.cost_critic import CostCritic
from agents.training.constrained_ppo.lagrange_multiplier import LagrangeMultiplier
from lm.checks import LEARNING_RATE, SHARE, at_least, require_number
from lm.errors import InvalidValueError


class PPOLagrangian(PPO):
    """Maximises the return while the mean sum of ``info["cost"]`` over an episode stays at or below `cost_limit`.

    A cost critic and generalised advantage estimation give cost advantages A_c, as for the reward advantages A_r.
    Before each update λ takes an ascent step on the episodes that ended in the rollout, if any. PPO then learns from

        A = (A_r - λ A_c) / (1 + λ).

    λ is relative to the scale of rewards, so scale rewards to about 1 (``VecNormalize``). OmniSafe standardises A_r
    first; since A_r shrinks faster than A_c as the policy narrows, λ would then grow without bound.

    Args:
        policy: an SB3 actor-critic policy, such as "MlpPolicy" or :class:`agents.BetaPolicy`.
        env: environment or SB3 ``VecEnv`` with a finite ``info["cost"]`` in each step; costs may be negative.
        cost_limit: limit of the mean sum of costs of an episode.
        initial_multiplier: initial λ, at least 0.
        multiplier_learning_rate: Adam's learning rate for λ, above 0.
        multiplier_gain: proportional gain, added to λ per unit of mean cost above the limit, at least 0; damps λ.
        cost_gamma: discount of the cost advantages, in [0, 1]; None: that of rewards. The constraint applies to the
            undiscounted sum.
        cost_gae_lambda: λ of the cost advantages' estimation, in [0, 1]; None: that of rewards.
        kwargs: other arguments of SB3's ``PPO``.

    Raises:
        InvalidValueError: an argument is out of range, or, during learning, an info has no finite cost.
    """

    cost_critic: CostCritic
    """Value network of costs with its optimizer."""
    multiplier: LagrangeMultiplier
    """Lagrange multiplier λ with its optimizer."""
    cost_buffer: RolloutBuffer
    """Rollout buffer with costs in place of rewards, so that SB3's code estimates the cost advantages."""

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *args: Any,
        cost_limit: float = 0.0,
        initial_multiplier: float = 0.0,
        multiplier_learning_rate: float = 0.05,
        multiplier_gain: float = 0.0,
        cost_gamma: float | None = None,
        cost_gae_lambda: float | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(policy, env, *args, _init_setup_model=False, **kwargs)
        self.cost_limit = cost_limit
        self.initial_multiplier = initial_multiplier
        self.multiplier_learning_rate = multiplier_learning_rate
        self.multiplier_gain = multiplier_gain
        self.cost_gamma = self.gamma if cost_gamma is None else cost_gamma
        self.cost_gae_lambda = self.gae_lambda if cost_gae_lambda is None else cost_gae_lambda
        self.episode_costs: list[float] = []
        """Sums of costs of the episodes that ended in the newest rollout."""
        self.running_costs = np.zeros(0)
        """(N,) sums of costs of the running episodes."""
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        for name in ("cost_gamma", "cost_gae_lambda"):
            require_number(name, getattr(self, name), SHARE)
        require_number("cost_limit", self.cost_limit, at_least(-1e6, 1e6))
        for name in ("initial_multiplier", "multiplier_gain"):
            require_number(name, getattr(self, name), at_least(0, 1e6))
        require_number("multiplier_learning_rate", self.multiplier_learning_rate, LEARNING_RATE)
        super()._setup_model()
        self.cost_critic = CostCritic(self.policy, self.lr_schedule(1))
        self.multiplier = LagrangeMultiplier(
            self.initial_multiplier, self.multiplier_learning_rate, self.multiplier_gain, self.device
        )
        self.cost_buffer = type(self.rollout_buffer)(
            self.n_steps,
            self.observation_space,
            self.action_space,
            device=self.device,
            gamma=self.cost_gamma,
            gae_lambda=self.cost_gae_lambda,
            n_envs=self.n_envs,
            **self.rollout_buffer_kwargs,
        )

    # Collecting: SB3's loop, with costs beside the rewards

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collects rollouts as ``OnPolicyAlgorithm``, and fills the cost buffer."""
        self.cost_buffer.reset()
        self.episode_costs = []
        is_whole = super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        if is_whole:
            last_values = self.cost_critic.predict(obs_as_tensor(self._last_obs, self.device))
            self.cost_buffer.compute_returns_and_advantage(last_values, dones=self._last_episode_starts)
            if self.episode_costs:
                self.logger.record("rollout/ep_cost_mean", np.mean(self.episode_costs))
        return is_whole

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: NDArray[np.bool_] | None = None) -> None:
        # `collect_rollouts` calls this once per step, before it passes `_last_obs` and `_last_episode_starts` to
        # `rollout_buffer.add`.
        super()._update_info_buffer(infos, dones)
        assert dones is not None and self._last_obs is not None and self._last_episode_starts is not None
        costs = _costs_of(infos)
        if self._last_episode_starts.all():  # the env was reset; it may be another env with more rows
            self.running_costs = np.zeros(len(costs))
        self.running_costs += costs
        self.episode_costs += self.running_costs[dones].tolist()
        self.running_costs[dones] = 0.0

        # For truncated episodes the critic's value is added, as for rewards.
        for row in np.flatnonzero(dones):
            if infos[row].get("TimeLimit.truncated", False) and infos[row].get("terminal_observation") is not None:
                terminal = self.policy.obs_to_tensor(infos[row]["terminal_observation"])[0]
                costs[row] += self.cost_gamma * self.cost_critic.predict(terminal).item()
        self.cost_buffer.add(
            self._last_obs,
            np.zeros((self.n_envs, self.cost_buffer.action_dim)),  # actions and their probabilities are not used
            costs,
            self._last_episode_starts,
            self.cost_critic.predict(obs_as_tensor(self._last_obs, self.device)),
            torch.zeros(self.n_envs),
        )

    # Learning: λ, then PPO's update, then the cost critic

    def train(self) -> None:
        """Updates λ, policy, value network and cost critic from the rollout."""
        if self.episode_costs:
            self.multiplier.ascend(float(np.mean(self.episode_costs)) - self.cost_limit)
        buffer = self.rollout_buffer
        weight = self.multiplier.value
        buffer.advantages = (buffer.advantages - weight * self.cost_buffer.advantages) / (1.0 + weight)
        super().train()
        self._train_cost_critic()
        self.logger.record("train/lagrange_multiplier", self.multiplier.value)

    def _train_cost_critic(self) -> None:
        critic = self.cost_critic
        critic.train()
        self._update_learning_rate(critic.optimizer)
        losses = []
        for _ in range(self.n_epochs):
            for batch in self.cost_buffer.get(self.batch_size):
                loss = F.mse_loss(critic(batch.observations).flatten(), batch.returns)
                critic.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(critic.parameters(), self.max_grad_norm)
                critic.optimizer.step()
                losses.append(loss.item())
        critic.eval()
        buffer = self.cost_buffer
        self.logger.record("train/cost_value_loss", np.mean(losses))
        explained = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        self.logger.record("train/cost_explained_variance", explained)

    # Saving: SB3's zip also holds the cost critic, λ and their optimizers

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "cost_buffer"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, variables = super()._get_torch_save_params()
        ours = ["cost_critic", "cost_critic.optimizer", "multiplier", "multiplier.optimizer"]
        return [*state_dicts, *ours], variables


def _costs_of(infos: list[dict[str, Any]]) -> NDArray[np.float64]:
    """(N,) costs of a step."""
    for row, info in enumerate(infos):
        if "cost" not in info:
            hint = "Make the environments of Tidal Gym with `cost=...`."
            raise InvalidValueError(
                'info["cost"]', "must be present after each step", f"{sorted(info)} (row {row})", hint
            )
        if not np.isfinite(info["cost"]):
            raise InvalidValueError('info["cost"]', "must be a finite number", f"{info['cost']} (row {row})")
    return np.array([info["cost"] for info in infos], np.float64)
