"""Records of the tokens that can be drawn next, with their probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Candidates(NamedTuple):
    """The K tokens of the sampling distribution in each of N rows, by descending probability under q."""

    tokens: NDArray[np.int64]
    """(N, K) token ids."""
    q: NDArray[np.float64]
    """(N, K) probabilities under q, the sampling distribution; they sum to 1."""
    p: NDArray[np.float64]
    """(N, K) probabilities under p, the neutral distribution; they sum to 1 over the whole vocabulary."""


class Prospects(NamedTuple):
    """Effects of A actions in the current state of each of N rows: expected rewards and sampling distributions."""

    expected_rewards: NDArray[np.float64]
    """(N, A) exact expected rewards of the next token."""
    tokens: NDArray[np.int64]
    """(N, A, K) ids of the tokens of the sampling distributions."""
    q: NDArray[np.float64]
    """(N, A, K) probabilities of these tokens under q; they sum to 1."""
    p: NDArray[np.float64]
    """(N, A, K) neutral probabilities of these tokens; they sum to 1 over the whole vocabulary."""
