"""The states that a warm start met."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.runs.saved_state import write_into

_COLUMNS = ("observations", "actions", "rewards", "tokens", "p", "following", "is_over", "goes_on")


class StateMemory:
    """All states of a warm start, in the order in which they were met: what was asked in them, and what came next.

    Args:
        capacity: states that it will hold.
        num_rows: N envs, which meet a state each at a time.
        candidates: K actions that are asked about in every state.
        observation_shape: of one observation.
        action_shape: of one action.
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
        self.observations = np.zeros((capacity, *observation_shape), np.float32)  # as the environment gives them
        self.actions = np.zeros((capacity, candidates, *action_shape), np.float32)  # the first one was taken
        self.rewards = np.zeros((capacity, candidates), np.float32)  # expected, exact
        self.tokens = np.zeros(capacity, np.int64)  # that were drawn
        self.p = np.zeros(capacity, np.float32)  # their neutral probabilities
        self.following = np.zeros_like(self.observations)
        self.is_over = np.zeros(capacity, np.bool_)
        self.goes_on = np.zeros(capacity, np.bool_)  # there is more to earn: not over, or merely cut

    def add_state(
        self, observations: NDArray[np.float32], candidates: NDArray[np.float32], expected: NDArray[np.float64]
    ) -> None:
        """States (N, size), candidates (K, N, A) and their expected rewards (N, K)."""
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
        """What came after the newest states.

        Args:
            following: (N, size) observations.
            is_over: (N,) whether the episode ended.
            is_cut: (N,) whether it was truncated.
            tokens: (N,) that were drawn.
            p: (N,) their neutral probabilities.
        """
        rows = self._next_rows
        self.following[rows] = following
        self.is_over[rows] = is_over
        self.goes_on[rows] = ~is_over | is_cut
        self.tokens[rows] = tokens
        self.p[rows] = p
        self.count += self.num_rows

    def state(self) -> dict[str, Tensor]:
        """The states met so far: the memory itself."""
        return {name: torch.from_numpy(getattr(self, name)[: self.count]) for name in _COLUMNS}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up the states of :meth:`state`."""
        self.count = len(tensors["tokens"])
        write_into(self.state(), tensors)

    @property
    def _next_rows(self) -> slice:
        return slice(self.count, self.count + self.num_rows)
