"""A planner: rolls out actions several tokens ahead, as a reference for gating with look-ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents.baselines.oracle import OneStepOracle
from agents.episodes.agent import Agent
from agents.episodes.expected_reward import expected_reward_of
from lm.checks import COUNT, require_integer

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


class Planner(OneStepOracle):
    """Agent that rolls out the best actions of the one-step oracle on copies of the state, and takes the best one.

    The value of an action is its exact expected reward plus the expected rewards of the following tokens under the
    continuation agent, as a mean over rollouts:

        value(a) = E[r | s, a] + mean over rollouts of Σ_{i=1}^{depth-1} E[r | s_i, continuation(s_i)]

    With depth 1 it is the one-step oracle. The copies use random numbers of their own, the same ones for all actions of
    a state, and the episode itself does not change. Like the oracle it uses the model, so it is a reference.

    Args:
        depth: number of tokens in the value, including the next one; at least 1.
        continuation: agent that acts on the copies after the first token. Better agents give better values.
        candidates: number of actions to roll out, the best of the grid for the next token; at least 1.
        rollouts: number of rollouts of each action; at least 1.
        levels: number of values of each gate in the grid, as for the one-step oracle.

    Raises:
        InvalidValueError: an argument is out of its range.
    """

    def __init__(
        self,
        depth: int,
        continuation: Agent,
        *,
        candidates: int = 8,
        rollouts: int = 16,
        levels: tuple[int, int, int] = (9, 3, 5),
    ) -> None:
        super().__init__(levels)
        for name, value in (("depth", depth), ("candidates", candidates), ("rollouts", rollouts)):
            require_integer(name, value, COUNT)
        self.name = f"planner of {depth}"
        self.depth = depth
        self.continuation = continuation
        self.candidates = min(candidates, len(self.grid))
        self.rollouts = rollouts
        self._copies: TidalGatingVectorEnv | None = None
        self._generator = np.random.default_rng(2)  # replaced by `start`

    def start(self, vector_env: VectorEnv, seed: int) -> None:
        """Creates the environment for the copies of states."""
        known = self._vector_env
        super().start(vector_env, seed)
        self._generator = np.random.default_rng((2, seed))  # differs from the episodes' random stream
        if self.depth == 1:
            return
        if self._copies is None or self._environment is not known:
            num_copies = vector_env.num_envs * self.candidates * self.rollouts
            self._copies = self._environment.resized(
                num_copies, expected_reward=True, autoreset_mode="SameStep", render_mode=None
            )
            self._copies.reset(seed=seed)
        self.continuation.start(self._copies, seed)

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The best gates (N, 3) in the environment's current state."""
        expected = self._environment.expected_rewards(self.grid)  # (N, A)
        best = np.argsort(-expected, axis=1, kind="stable")[:, : self.candidates]  # (N, K)
        values = np.take_along_axis(expected, best, axis=1)
        if self.depth > 1:
            values = values + self._roll_out(self.grid[best])
        return self.grid[np.take_along_axis(best, values.argmax(axis=1)[:, None], axis=1)[:, 0]]

    def _roll_out(self, actions: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, K) expected rewards after the actions (N, K, 3), up to the planner's depth."""
        assert self._copies is not None
        num_rows, num_actions = actions.shape[:2]
        shape = (num_rows, num_actions, self.rollouts)
        uniforms = self._generator.random((num_rows, 1, self.rollouts, self._copies.max_episode_steps))
        uniforms = np.broadcast_to(uniforms, (*shape, self._copies.max_episode_steps))
        rows = np.repeat(np.arange(num_rows), num_actions * self.rollouts)
        self._copies.copy_rows(self._environment, rows, uniforms.reshape(len(rows), -1))
        gates = np.repeat(actions.reshape(-1, 3), self.rollouts, axis=0)  # (N K R, 3)
        observations, _, terminations, truncations, _ = self._copies.step(gates)
        is_alive = ~(terminations | truncations)
        earned = np.zeros(len(rows))
        for _ in range(self.depth - 1):
            if not is_alive.any():
                break
            step = self.continuation.step(self._copies, observations)
            observations, is_over = step.observations, step.terminations | step.truncations
            earned += is_alive * expected_reward_of(step.infos, is_over)
            is_alive &= ~is_over
        return earned.reshape(shape).mean(axis=2)
