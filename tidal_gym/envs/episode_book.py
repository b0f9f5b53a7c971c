"""Records of each row's episode: generators and seeds, random numbers, gates taken, steps, prompt lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from numpy.typing import NDArray
from torch import Tensor

from lm.models.gate_names import GATE_NAMES

_ARRAYS = ("steps", "prompt_lengths", "is_finished", "uniforms", "gates_taken")


class EpisodeBook:
    """Where each of N rows stands in its episode, and the random numbers that it draws with.

    Tokens and streams are :class:`tidal_gym.envs.generation.Generation`'s.

    Args:
        num_rows: N.
        max_steps: S, most steps of an episode.
        is_reset_by_caller: whether rows that are over wait for a reset (DISABLED autoreset).
    """

    def __init__(self, num_rows: int, max_steps: int, *, is_reset_by_caller: bool = False) -> None:
        self.max_steps = max_steps
        self._is_reset_by_caller = is_reset_by_caller
        self.generators: list[np.random.Generator] = []
        """Random generator of each row; empty before the first reset."""
        self.seeds: list[int] = []
        """Seed of each row's generator; empty before the first reset."""
        self.steps = np.zeros(num_rows, np.int64)
        """(N,) steps taken in the present episode."""
        self.prompt_lengths = np.zeros(num_rows, np.int64)
        """(N,) tokens of the prompt, special prefix excluded."""
        self.is_finished = np.ones(num_rows, np.bool_)
        """(N,) whether the episode is over."""
        # One additional step: under NEXT_STEP autoreset a finished row idles in the step of its reset.
        self.uniforms = np.zeros((num_rows, max_steps + 1))
        """(N, S + 1) numbers in [0, 1) that tokens are drawn with, one for each step."""
        self.gates_taken = np.zeros((num_rows, max_steps + 1, len(GATE_NAMES)))
        """(N, S + 1, 3) gates of each step taken."""
        self._rows = np.arange(num_rows)
        self._is_halfway = False

    @property
    def has_begun(self) -> bool:
        """Whether there was a reset."""
        return bool(self.generators)

    # Episodes

    def seed(self, seeds: Sequence[int | None], rows: NDArray[np.bool_]) -> None:
        """Makes generators: of all rows the first time, later of the rows (N,) that are True and have a seed."""
        if not self.has_begun:
            self.generators, self.seeds = map(list, zip(*map(seeding.np_random, seeds), strict=True))
            return
        for row, seed in enumerate(seeds):
            if rows[row] and seed is not None:
                self.generators[row], self.seeds[row] = seeding.np_random(seed)

    def begin(self, rows: NDArray[np.integer], prompt_lengths: NDArray[np.integer]) -> None:
        """Begins episodes in the rows (R,), whose prompts have been drawn; draws a uniform number for each step."""
        self.uniforms[rows, :-1] = [self.generators[row].random(self.max_steps) for row in rows]
        self.steps[rows] = 0
        self.prompt_lengths[rows] = prompt_lengths
        self.is_finished[rows] = False

    def take_step(self, gates: NDArray[np.floating]) -> NDArray[np.float64]:
        """Counts a step of every row under gates (N, 3) or (3,), and returns the uniform numbers (N,) to draw with."""
        uniforms = self.uniforms[self._rows, self.steps]
        self.gates_taken[self._rows, self.steps] = gates
        self.steps += 1
        return uniforms

    def gates_of(self, row: int) -> NDArray[np.float64]:
        """(T, 3) gates of the steps taken in the present episode of a row."""
        return self.gates_taken[row, : self.steps[row]]

    def copy_rows(
        self, other: EpisodeBook, rows: NDArray[np.integer], uniforms: NDArray[np.float64] | None = None
    ) -> None:
        """Copies the episodes of rows (N,) of `other`; the generators stay.

        Args:
            other: with the same S.
            rows: (N,) which of its rows becomes each row here, with any repeats.
            uniforms: (N, S) numbers to draw with from the present step on; None: those of `other`.
        """
        for name in _ARRAYS:
            np.copyto(getattr(self, name), getattr(other, name)[rows])
        if uniforms is not None:
            columns = (np.arange(self.max_steps) - self.steps[:, None]) % self.max_steps
            self.uniforms[:, :-1] = np.take_along_axis(uniforms, columns, axis=1)

    def state(self) -> dict[str, Tensor]:
        """All records but the generators, sharing memory: writing into the tensors puts them back."""
        return {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}

    # When a step is allowed

    @contextmanager
    def one_piece(self) -> Iterator[None]:
        """Context for operations that must complete: after an exception inside, all rows must be reset.

        An exception in a reward, cost, judge or processor, or an interrupt, leaves streams, texts and counters
        inconsistent.
        """
        self._is_halfway = True
        yield
        self._is_halfway = False

    def require_whole(self) -> None:
        """Raise ResetNeeded where the last step or reset raised an exception."""
        if self._is_halfway:
            raise ResetNeeded(
                "The last step or reset was interrupted by an exception: call `reset()` for all rows first."
            )

    def require_running(self) -> None:
        """Raise ResetNeeded where no step can be taken: before the first reset, halfway, or where rows wait for one."""
        self.require_whole()
        if not self.has_begun:
            raise ResetNeeded("Call `reset` before `step`.")
        if self._is_reset_by_caller and self.is_finished.any():
            rows = np.flatnonzero(self.is_finished).tolist()
            raise ResetNeeded(
                f"The episodes of the rows {rows} have ended: call `reset(options={{'reset_mask': mask}})` first."
            )
