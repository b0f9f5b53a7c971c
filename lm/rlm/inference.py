"""Exact inference in a binary-branching grammar: messages up and down the tree, all nodes of a level at once.

With rules M (v, v, v) as [parent, left, right], an *inside* message ν_u(a) is the probability of the observed leaves
below node u if u is the symbol a, and an *outside* message μ_u(a) that of u being a together with the observed leaves
elsewhere:

    ν_u(a) = Σ_bc M_abc ν_left(b) ν_right(c)        1 where nothing below is observed, [a = x] at a leaf that is x
    μ_left(b) = Σ_ac μ(a) M_abc ν_right(c)          μ_right(c) = Σ_ab μ(a) M_abc ν_left(b)        μ_root = 1/v

Messages are scaled to sum to 1, so that long sentences do not underflow; the results are normalised anyway. Where
the observed leaves are impossible, which takes rules of probability 0, messages are uniform.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK_NUMBERS = 1 << 21
"""Numbers that the temporary (B, v, v) array of a contraction may hold; larger batches go in blocks."""


def next_leaf_posterior(rules: Tensor, leaves: Tensor) -> Tensor:
    """P(x_t | x_<t) at every place t from 0, (B, T, v).

    Leaf t sees the subtrees left of its path from the root, whole, and nothing right of it.

    Args:
        rules: (v, v, v).
        leaves: (B, T) symbols, T a power of 2.
    """
    inside = _inside(rules, leaves)
    left_child = rules.sum(dim=2)  # (v, v): P(left child | parent)
    outside = _uniform(rules, len(leaves))
    for left_of_pair in (*inside[1:], leaves):  # the messages of each level below the root
        left = outside @ left_child
        right = _outside_right(rules, outside, left_of_pair[:, 0::2])
        outside = _interleaved(left, right)
    return outside


def masked_leaf_posterior(rules: Tensor, leaves: Tensor) -> Tensor:
    """P(x_t | all leaves but t) at every place t, (B, T, v); arguments as for :func:`next_leaf_posterior`."""
    inside = _inside(rules, leaves)
    outside = _uniform(rules, len(leaves))
    for level in (*inside[1:], leaves):
        left = _outside_left(rules, outside, level[:, 1::2])
        right = _outside_right(rules, outside, level[:, 0::2])
        outside = _interleaved(left, right)
    return outside


def root_posterior(rules: Tensor, leaves: Tensor) -> Tensor:
    """P(root | leaves), (B, v); arguments as for :func:`next_leaf_posterior`."""
    return _inside(rules, leaves)[0].squeeze(1)


def _inside(rules: Tensor, leaves: Tensor) -> list[Tensor]:
    """Inside messages of all levels above the leaves, from the root (B, 1, v) down to (B, T / 2, v)."""
    level = _inside_of(rules, leaves[:, 0::2], leaves[:, 1::2])
    levels = [level]
    while level.shape[1] > 1:
        level = _inside_of(rules, level[:, 0::2], level[:, 1::2])
        levels.append(level)
    return levels[::-1]


def _inside_of(rules: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Σ_bc M_abc left(b) right(c), (B, K, v): children are symbols (B, K) or messages (B, K, v)."""
    v = len(rules)
    if left.dim() == 2:
        pairs = (left * v + right).flatten()
        sums = rules.view(v, v * v)[:, pairs].T  # (B K, v)
        return _normalized(sums).view(*left.shape, v)
    by_right = rules.view(v * v, v).T  # (c, a b)

    def contract(left: Tensor, right: Tensor) -> Tensor:
        return ((right @ by_right).view(-1, v, v) @ left.unsqueeze(2)).squeeze(2)

    return _in_blocks(contract, left, right)


def _outside_right(rules: Tensor, outside: Tensor, left: Tensor) -> Tensor:
    """Σ_ab μ(a) M_abc left(b), (B, K, v): the left children are symbols (B, K) or messages (B, K, v)."""
    v = len(rules)

    def of_symbols(outside: Tensor, left: Tensor) -> Tensor:
        chosen = rules.index_select(1, left).transpose(0, 1)  # (B K, a, c)
        return (outside.unsqueeze(1) @ chosen).squeeze(1)

    def of_messages(outside: Tensor, left: Tensor) -> Tensor:
        weighted = (outside @ rules.view(v, v * v)).view(-1, v, v)  # (B K, b, c)
        return (left.unsqueeze(1) @ weighted).squeeze(1)

    return _in_blocks(of_symbols if left.dim() == 2 else of_messages, outside, left)


def _outside_left(rules: Tensor, outside: Tensor, right: Tensor) -> Tensor:
    """Σ_ac μ(a) M_abc right(c), (B, K, v): the right children are symbols (B, K) or messages (B, K, v)."""
    return _outside_right(rules.transpose(1, 2).contiguous(), outside, right)


def _in_blocks(contract: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor) -> Tensor:
    """A contraction of nodes (B, K, ...), a block of them at a time, normalised."""
    shape = first.shape[:2]
    v = first.shape[-1]
    size = max(1, BLOCK_NUMBERS // (v * v))
    blocks = zip(first.flatten(0, 1).split(size), second.flatten(0, 1).split(size), strict=True)
    return _normalized(torch.cat([contract(*block) for block in blocks])).view(*shape, v)


def _interleaved(left: Tensor, right: Tensor) -> Tensor:
    """Children (B, K, v) of K nodes in their order, (B, 2 K, v), normalised."""
    return _normalized(torch.stack((left, right), dim=2).flatten(1, 2))


def _normalized(messages: Tensor) -> Tensor:
    totals = messages.sum(dim=-1, keepdim=True)
    return torch.where(totals > 0, messages / totals, 1.0 / messages.shape[-1])


def _uniform(rules: Tensor, batch: int) -> Tensor:
    return rules.new_full((batch, 1, len(rules)), 1.0 / len(rules))
