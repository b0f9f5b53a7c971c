"""A warm start: before PPO, the policy learns from exact expected rewards of actions that it did not take.

A step of PPO tells what one action earned. In the same state the environment can also say what other actions are
expected to earn for the next token, exactly and without drawing it, for a forward pass of the gated stream each. The
warm start rolls out the policy as it is, so that it learns in the states that it meets (arXiv:1011.0686), asks for a
few candidate actions in every state, fits a network to the surface of expected rewards, and moves the policy uphill on
it:

    maximise over the policy π   E[surface(s, a)] + temperature · H(π(·|s)),   a from π(·|s), reparametrised

It looks one token ahead, as the one-step oracle does; looking further is left to PPO. The critic starts with one-step
temporal differences in the same states, on the reward that the surface promises.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from agents.beta_policy import BetaPolicy
from agents.learning_curve import LearningCurve
from agents.reward_surface import RewardSurface
from agents.training_config import WarmStartConfig

if TYPE_CHECKING:
    from tidal_gym.vector_env import TidalGatingVectorEnv


def warm_start(
    ppo: PPO,
    normalization: VecNormalize,
    vector_env: TidalGatingVectorEnv,
    config: WarmStartConfig,
    seed: int,
    curve: LearningCurve,
) -> None:
    """Prepare the policy and the critic of `ppo`, whose step count then includes the steps that were spent.

    Args:
        ppo: untrained, with a Beta policy.
        normalization: its environment, whose running statistics are updated.
        vector_env: the environment within, which is asked for expected rewards.
        config: how.
        seed: of candidates and minibatches; actions are drawn with torch's global generator.
        curve: gets a point per rollout.
    """
    generator = np.random.default_rng((seed, 3))
    num_envs = vector_env.num_envs
    rounds = math.ceil(config.env_steps / (num_envs * config.rollout_steps))
    memory = _Memory(rounds * config.rollout_steps * num_envs, config.candidates, vector_env)
    learner = _Learner(ppo, normalization, config)
    observations = normalization.reset()
    for number in range(rounds):
        seen = []
        for _ in range(config.rollout_steps):
            seen.append(observations)
            candidates = _candidates(ppo, observations, config.candidates, generator)  # (K, N, A)
            memory.add_state(normalization.get_original_obs(), candidates, vector_env.expected_rewards(candidates))
            observations, _, dones, infos = normalization.step(candidates[0])
            following = normalization.get_original_obs()
            for row in np.flatnonzero(dones):
                following[row] = normalization.unnormalize_obs(infos[row]["terminal_observation"])
            is_cut = np.array([bool(info.get("TimeLimit.truncated")) for info in infos])
            memory.add_outcome(following, ~dones | is_cut)
            curve.add_episodes(dones, infos)
        ppo.num_timesteps = memory.count
        curve.add_point(np.concatenate(seen))
        learner.learn(memory, generator, learning_rate=config.learning_rate * (1 - number / rounds))


def _candidates(ppo: PPO, observations: object, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """(K, N, A) actions to ask about: half of them from the policy, the first of which is taken; the others uniform."""
    with torch.no_grad():
        distribution = ppo.policy.get_distribution(torch.as_tensor(observations))
        drawn = [distribution.sample().numpy() for _ in range((count + 1) // 2)]
    uniform = generator.random((count // 2, *drawn[0].shape), dtype=np.float32)
    return np.stack([*drawn, *uniform])


class _Memory:
    """All states of the warm start: what was asked in them, and what came next."""

    def __init__(self, capacity: int, candidates: int, vector_env: TidalGatingVectorEnv) -> None:
        observation = cast("tuple[int, ...]", vector_env.single_observation_space.shape)
        action = cast("tuple[int, ...]", vector_env.single_action_space.shape)
        self.count = 0
        self._rows = vector_env.num_envs
        self.observations = np.zeros((capacity, *observation), np.float32)  # as the environment gives them
        self.actions = np.zeros((capacity, candidates, *action), np.float32)  # the first one was taken
        self.rewards = np.zeros((capacity, candidates), np.float32)  # expected, exact
        self.following = np.zeros_like(self.observations)
        self.goes_on = np.zeros(capacity, np.bool_)

    def add_state(
        self, observations: NDArray[np.float32], candidates: NDArray[np.float32], expected: NDArray[np.float64]
    ) -> None:
        """States (N, size), candidates (K, N, A) and their expected rewards (N, K)."""
        rows = slice(self.count, self.count + self._rows)
        self.observations[rows] = observations
        self.actions[rows] = candidates.swapaxes(0, 1)
        self.rewards[rows] = expected

    def add_outcome(self, following: NDArray[np.float32], goes_on: NDArray[np.bool_]) -> None:
        """What came after the newest states: observations (N, size), and whether there is more to earn (N,)."""
        rows = slice(self.count, self.count + self._rows)
        self.following[rows] = following
        self.goes_on[rows] = goes_on
        self.count += self._rows


class _Learner:
    """Fits the surface, the policy and the critic, each with an optimizer of its own."""

    def __init__(self, ppo: PPO, normalization: VecNormalize, config: WarmStartConfig) -> None:
        assert isinstance(ppo.policy, BetaPolicy)
        self._policy, self._gamma = ppo.policy, ppo.gamma
        self._normalization, self._config = normalization, config
        size, num_gates = (space.shape[0] for space in (ppo.observation_space, ppo.action_space))
        self._surface = RewardSurface(size, num_gates)
        extractor = self._policy.mlp_extractor
        parts = (
            [*self._surface.parameters()],
            [*extractor.policy_net.parameters(), *self._policy.action_net.parameters()],
            [*extractor.value_net.parameters(), *self._policy.value_net.parameters()],
        )
        self._optimizers = [torch.optim.Adam(part, fused=True) for part in parts]

    def learn(self, memory: _Memory, generator: np.random.Generator, learning_rate: float) -> None:
        """One phase of minibatches from all states so far."""
        for optimizer in self._optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate
        known = memory.rewards[: memory.count]
        center, scale = float(known.mean()), float(known.std()) + 1e-8
        self._policy.set_training_mode(True)
        for _ in range(self._config.gradient_steps):
            rows = generator.integers(memory.count, size=self._config.batch_size)
            states, following = (
                torch.as_tensor(self._normalization.normalize_obs(observations[rows]))
                for observations in (memory.observations, memory.following)
            )
            target = torch.as_tensor((memory.rewards[rows] - center) / scale)
            surface, actor, critic = self._optimizers
            _descend(surface, F.mse_loss(self._surface(states, torch.as_tensor(memory.actions[rows])), target))
            distribution = self._policy.get_distribution(states)
            promised = self._surface(states, distribution.sample().unsqueeze(1)).squeeze(1)  # the gradient passes
            entropy = distribution.entropy().mean()
            _descend(actor, -(promised.mean() + self._config.temperature * entropy))
            # What the policy would earn now, not what its forerunner did.
            earned = torch.as_tensor(self._normalization.normalize_reward(center + scale * promised.detach().numpy()))
            with torch.no_grad():
                ahead = self._policy.predict_values(following).squeeze(1) * torch.as_tensor(memory.goes_on[rows])
            _descend(critic, F.mse_loss(self._policy.predict_values(states).squeeze(1), earned + self._gamma * ahead))
        self._policy.set_training_mode(False)


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
