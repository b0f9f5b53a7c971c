"""Memory of the states visited in a warm start."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.runs.tensors.saved_state import write_into

_COLUMNS = ("observations", "actions", "rewards", "tokens", "p", "following", "is_over", "goes_on")


class StateMemory:
    """Memory of all states of a warm start in order: candidates, expected rewards and successors.

    Args:
        capacity: maximum number of states.
        num_rows: number of envs N, which add a state each per step.
        candidates: number of candidate actions K per state.
        observation_shape: shape of an observation.
        action_shape: shape of an action.
    """

    def __init__(
        self,
        capacity: int,
        num_rows: int,
        candidates: int,
        observation_shape: tuple[int, ...],
        action_shape: tuple[int, ...],
    ) -> None:
        self.count = 0
        self.num_rows = num_rows
        self.observations = np.zeros((capacity, *observation_shape), np.float32)  # not normalised
        self.actions = np.zeros((capacity, candidates, *action_shape), np.float32)  # the first candidate was taken
        self.rewards = np.zeros((capacity, candidates), np.float32)  # exact expectations
        self.tokens = np.zeros(capacity, np.int64)  # drawn tokens
        self.p = np.zeros(capacity, np.float32)  # neutral probabilities of the drawn tokens
        self.following = np.zeros_like(self.observations)
        self.is_over = np.zeros(capacity, np.bool_)
        self.goes_on = np.zeros(capacity, np.bool_)  # not ended, or truncated only

    def add_state(
        self, observations: NDArray[np.float32], candidates: NDArray[np.float32], expected: NDArray[np.float64]
    ) -> None:
        """Adds states (N, size) with candidates (K, N, A) and their expected rewards (N, K)."""
        rows = self._next_rows
        self.observations[rows] = observations
        self.actions[rows] = candidates.swapaxes(0, 1)
        self.rewards[rows] = expected

    def add_outcome(
        self,
        following: NDArray[np.float32],
        is_over: NDArray[np.bool_],
        is_cut: NDArray[np.bool_],
        tokens: NDArray[np.int64],
        p: NDArray[np.floating],
    ) -> None:
        """Adds the successors of the newest states.

        Args:
            following: (N, size) next observations.
            is_over: (N,) whether the episode ended.
            is_cut: (N,) whether the episode was truncated.
            tokens: (N,) drawn tokens.
            p: (N,) neutral probabilities of the drawn tokens.
        """
        rows = self._next_rows
        self.following[rows] = following
        self.is_over[rows] = is_over
        self.goes_on[rows] = ~is_over | is_cut
        self.tokens[rows] = tokens
        self.p[rows] = p
        self.count += self.num_rows

    def state(self) -> dict[str, Tensor]:
        """Content of the memory, for checkpoints."""
        return {name: torch.from_numpy(getattr(self, name)[: self.count]) for name in _COLUMNS}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores the content of :meth:`state`."""
        self.count = len(tensors["tokens"])
        write_into(self.state(), tensors)

    @property
    def _next_rows(self) -> slice:
        return slice(self.count, self.count + self.num_rows)
