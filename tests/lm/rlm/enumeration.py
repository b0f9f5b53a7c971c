"""The slow, independent version: every sentence of a small grammar with its probability, and sums over all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sentence_probability(rules: list, root: int, sentence: tuple[int, ...]) -> float:
    """P(sentence | root), by trying every pair of children at every node."""
    if len(sentence) == 1:
        return float(sentence[0] == root)
    half = len(sentence) // 2
    symbols = range(len(rules))
    return sum(
        rules[root][left][right]
        * sentence_probability(rules, left, sentence[:half])
        * sentence_probability(rules, right, sentence[half:])
        for left in symbols
        for right in symbols
    )


def joint_table(rules: NDArray[np.float64], depth: int) -> NDArray[np.float64]:
    """P(root, sentence), an axis for the root and one for each of the 2^depth leaves, under a uniform root."""
    v = len(rules)
    table = np.eye(v)  # (root, leaf) of the sentence that is its root
    for _ in range(depth):
        flat = table.reshape(v, -1)
        shape = (v, *table.shape[1:], *table.shape[1:])
        table = np.einsum("abc,bx,cy->axy", rules, flat, flat, optimize=True).reshape(shape)
    return table / v


def conditional(table: NDArray[np.float64], axis: int, known: dict[int, int]) -> NDArray[np.float64]:
    """P(axis | known axes), all others summed out. Axis 0 is the root, axis t + 1 leaf t."""
    chosen = table[tuple(slice(None) if index not in known else known[index] for index in range(table.ndim))]
    kept = [index for index in range(table.ndim) if index not in known]
    summed = chosen.sum(axis=tuple(place for place, index in enumerate(kept) if index != axis))
    return summed / summed.sum()
