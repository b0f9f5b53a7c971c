"""The warm start before PPO: the policy learns from exact expected rewards of candidate actions.

A PPO step observes the reward of one action. In the same state, the environment can also compute the exact expected
reward of the next token for other actions, without sampling, at the cost of a forward pass of the gated stream each.
The warm start rolls out the current policy, so that it learns in the states that the policy visits (arXiv:1011.0686),
computes the expected rewards of a few candidate actions in each state, fits a network to the surface of expected
rewards, and improves the policy by gradient ascent on it:

    maximise over the policy π   E[surface(s, a)] + entropy_coefficient · H(π(·|s)),   a ~ π(·|s), reparametrised

It looks one token ahead, as the one-step oracle; PPO then learns longer horizons. The critic learns by one-step
temporal differences in the same states, on the surface's rewards. With ``look_ahead`` the surface includes the values
after the token, discounted by PPO's γ (:mod:`agents.training.warm_start.look_ahead`), and the critic learns from
λ-returns. This suits rewards that depend more on the course of a text than on the next token, such as `judge`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from agents.policy.beta_policy import BetaPolicy
from agents.training.config import WarmStartConfig
from agents.training.learning_curve import LearningCurve
from agents.training.warm_start.look_ahead import LookAhead
from agents.training.warm_start.reward_surface import RewardSurface
from agents.training.warm_start.state_memory import StateMemory
from lm.runs.tensors.saved_state import SavedState, joined, optimizer_state, restore_optimizer
from tidal_gym.dynamics.candidates import Prospects
from tidal_gym.envs.infos import of_step

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


class WarmStart:
    """Warm start of the policy and the critic of a PPO, whose step count includes the warm start's steps.

    Args:
        ppo: untrained PPO with a Beta policy.
        normalization: PPO's environment, whose running statistics are updated.
        vector_env: the wrapped vector env, which computes expected rewards.
        config: configuration of the warm start.
        seed: seed of candidates and minibatches; actions use torch's global generator.
        curve: learning curve, which gets a point per rollout.
    """

    def __init__(
        self,
        ppo: PPO,
        normalization: VecNormalize,
        vector_env: TidalGatingVectorEnv,
        config: WarmStartConfig,
        seed: int,
        curve: LearningCurve,
    ) -> None:
        self._ppo, self._normalization, self._vector_env = ppo, normalization, vector_env
        self._config, self._curve = config, curve
        self._generator = np.random.default_rng((seed, 3))
        num_envs = vector_env.num_envs
        self._num_rounds = math.ceil(config.env_steps / (num_envs * config.rollout_steps))
        capacity = self._num_rounds * config.rollout_steps * num_envs
        shapes = (cast("tuple[int, ...]", space.shape) for space in (ppo.observation_space, ppo.action_space))
        self._memory = StateMemory(capacity, num_envs, config.candidates, *shapes)
        self._learner = _Learner(ppo, normalization, config, self._memory, vector_env)
        self._observations: NDArray[np.float32] | None = None  # none before the first round

    def run(self, after_round: Callable[[], None]) -> None:
        """Runs the remaining rounds, each a rollout and a fitting phase; calls `after_round` after each."""
        if self._observations is None:
            self._observations = cast("NDArray[np.float32]", self._normalization.reset())
        steps = self._config.rollout_steps * self._vector_env.num_envs
        for number in range(self._memory.count // steps, self._num_rounds):
            self._roll_out()
            self._learner.learn(self._generator, self._config.learning_rate * (1 - number / self._num_rounds))
            if number + 1 < self._num_rounds:
                after_round()

    def state(self) -> SavedState:
        """State between two rounds for checkpoints, without PPO and its environment."""
        observations = torch.from_numpy(np.asarray(self._observations))
        return SavedState.of_parts(
            rounds=SavedState({"observations": observations}, {"generator": self._generator.bit_generator.state}),
            memory=SavedState(self._memory.state()),
            learner=self._learner.state(),
        )

    def restore(self, state: SavedState) -> None:
        """Restores the state of :meth:`state`; the next call of :meth:`run` continues from it."""
        rounds = state.part("rounds")
        self._observations = rounds.tensors["observations"].numpy()
        self._generator.bit_generator.state = rounds.values["generator"]
        self._memory.restore(state.part("memory").tensors)
        self._learner.restore(state.part("learner"))

    def _roll_out(self) -> None:
        normalization, memory, observations = self._normalization, self._memory, self._observations
        seen: list[Any] = []
        for _ in range(self._config.rollout_steps):
            seen.append(observations)
            candidates = _candidates(self._ppo, observations, self._config.candidates, self._generator)  # (K, N, A)
            prospects = self._vector_env.prospects(candidates)
            memory.add_state(normalization.get_original_obs(), candidates, prospects.expected_rewards)
            observations, _, dones, infos = normalization.step(candidates[0])
            following = normalization.get_original_obs()
            for row in np.flatnonzero(dones):
                following[row] = normalization.unnormalize_obs(infos[row]["terminal_observation"])
            is_cut = np.array([bool(info.get("TimeLimit.truncated")) for info in infos])
            tokens, log_prob = (of_step(normalization.vector_infos, name, dones) for name in ("token", "log_prob"))
            memory.add_outcome(following, dones, is_cut, tokens, np.exp(log_prob))
            self._learner.remember(prospects)
            self._curve.add_episodes(dones, infos)
        self._observations = observations
        self._ppo.num_timesteps = memory.count
        self._curve.add_point(np.concatenate(seen), "Warm start", len(self._memory.rewards))


def _candidates(ppo: PPO, observations: object, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """(K, N, A) candidate actions: half of them from the policy, the first of which is taken; the others uniform."""
    with torch.no_grad():
        distribution = ppo.policy.get_distribution(torch.as_tensor(observations))
        drawn = [distribution.sample().numpy() for _ in range((count + 1) // 2)]
    uniform = generator.random((count // 2, *drawn[0].shape), dtype=np.float32)
    return np.stack([*drawn, *uniform])


class _Learner:
    """Fits surface, policy and critic, each with an optimizer of its own."""

    def __init__(
        self,
        ppo: PPO,
        normalization: VecNormalize,
        config: WarmStartConfig,
        memory: StateMemory,
        vector_env: TidalGatingVectorEnv,
    ) -> None:
        assert isinstance(ppo.policy, BetaPolicy)
        self._memory = memory
        self._policy, self._gamma = ppo.policy, ppo.gamma
        self._normalization, self._config = normalization, config
        self._normalized = partial(_normalized, normalization)
        self._values = partial(_values, ppo.policy, normalization)
        self._surface = RewardSurface(*(space.shape[0] for space in (ppo.observation_space, ppo.action_space)))
        extractor = self._policy.mlp_extractor
        parts = (
            [*self._surface.parameters()],
            [*extractor.policy_net.parameters(), *self._policy.action_net.parameters()],
            [*extractor.value_net.parameters(), *self._policy.value_net.parameters()],
        )
        self._optimizers = [torch.optim.Adam(part, fused=True) for part in parts]
        self._ahead: LookAhead | None = None
        if config.look_ahead:
            steps, embeddings = config.rollout_steps, vector_env.token_embeddings()
            self._ahead = LookAhead(
                memory, steps, ppo.gamma, ppo.gae_lambda, embeddings, self._normalized, self._values
            )

    def state(self) -> SavedState:
        """State of surface, optimizers and look-ahead, for checkpoints."""
        optimizers = {str(number): optimizer_state(optimizer) for number, optimizer in enumerate(self._optimizers)}
        return SavedState.of_parts(
            surface=SavedState(self._surface.state_dict()),
            optimizers=SavedState(joined(**optimizers)),
            ahead=SavedState() if self._ahead is None else self._ahead.state(),
        )

    def restore(self, state: SavedState) -> None:
        """Restores the state of :meth:`state`."""
        self._surface.load_state_dict(state.part("surface").tensors)
        for number, optimizer in enumerate(self._optimizers):
            restore_optimizer(optimizer, state.part("optimizers").part(str(number)).tensors)
        if self._ahead is not None:
            self._ahead.restore(state.part("ahead"))

    def remember(self, prospects: Prospects) -> None:
        """Stores the data of the memory's newest states that the look-ahead needs."""
        if self._ahead is not None:
            self._ahead.remember(prospects)

    def learn(self, generator: np.random.Generator, learning_rate: float) -> None:
        """Runs one fitting phase: minibatches from all states so far."""
        memory, ahead, size = self._memory, self._ahead, self._config.batch_size
        for optimizer in self._optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate
        known = memory.rewards[: memory.count]
        center, scale = float(known.mean()), float(known.std()) + 1e-8
        normalization = self._normalization
        unit = math.sqrt(normalization.ret_rms.var + normalization.epsilon) if normalization.norm_reward else 1.0
        if ahead is not None:
            ahead.begin_phase(unit, learning_rate)
        self._policy.set_training_mode(True)
        for _ in range(self._config.gradient_steps):
            rows = generator.integers(memory.count, size=size)
            states = self._normalized(memory.observations[rows])
            target = torch.as_tensor((memory.rewards[rows] - center) / scale)
            surface, actor, critic = self._optimizers
            _descend(surface, F.mse_loss(self._surface(states, torch.as_tensor(memory.actions[rows])), target))
            if ahead is not None:
                ahead.descend(generator)
            distribution = self._policy.get_distribution(states)
            action = distribution.sample().unsqueeze(1)  # reparametrised: passes the gradient
            promised = self._surface(states, action).squeeze(1)
            promised_ahead = 0.0 if ahead is None else unit / scale * ahead.future(states, action).squeeze(1)
            entropy = distribution.entropy().mean()
            _descend(actor, -((promised + promised_ahead).mean() + self._config.entropy_coefficient * entropy))
            if ahead is not None:
                newest, returns = ahead.draw(generator, size)
                _descend(critic, F.mse_loss(self._values(newest), returns))
                continue
            # Rewards of the current policy, not of the behaviour policy.
            earned = torch.as_tensor(normalization.normalize_reward(center + scale * promised.detach().numpy()))
            with torch.no_grad():
                later = self._values(memory.following[rows]) * torch.as_tensor(memory.goes_on[rows])
            _descend(critic, F.mse_loss(self._policy.predict_values(states).squeeze(1), earned + self._gamma * later))
        self._policy.set_training_mode(False)


def _normalized(normalization: VecNormalize, observations: NDArray[np.float32]) -> torch.Tensor:
    return torch.as_tensor(normalization.normalize_obs(observations))


def _values(policy: BetaPolicy, normalization: VecNormalize, observations: NDArray[np.float32]) -> torch.Tensor:
    """Values (B,) of observations (B, size) of the environment."""
    return policy.predict_values(_normalized(normalization, observations)).squeeze(1)


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
