"""What could be drawn next, and how likely it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Candidates(NamedTuple):
    """The K tokens that could be drawn in each of N rows, the most probable under q first."""

    tokens: NDArray[np.int64]
    """(N, K) ids."""
    q: NDArray[np.float64]
    """(N, K) probabilities under q, the distribution that a token is drawn from; they sum to 1."""
    p: NDArray[np.float64]
    """(N, K) probabilities under p, the neutral distribution; they sum to 1 over the whole vocabulary."""


class Prospects(NamedTuple):
    """What A actions would do in the present state of each of N rows: what they earn, and what they would draw."""

    expected_rewards: NDArray[np.float64]
    """(N, A) exact expected immediate rewards."""
    tokens: NDArray[np.int64]
    """(N, A, K) ids of the tokens that could be drawn."""
    q: NDArray[np.float64]
    """(N, A, K) their probabilities, which sum to 1."""
    p: NDArray[np.float64]
    """(N, A, K) their neutral probabilities, which sum to 1 over the whole vocabulary."""
