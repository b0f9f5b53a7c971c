"""Novelty of a text: its share of n-grams that are new to itself, its prompt and the other texts of its group."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lm.carl.inputs import Array, Form, as_tensor
from lm.errors import InvalidValueError

GRAM_LENGTH = 4
"""Tokens of an n-gram, as in seq-rep-4 (Welleck et al. 2020, arXiv:1908.04319)."""


def novelty(token_ids: Array, mask: Array | None = None, groups: Array | None = None) -> Any:
    """Share of a completion's 4-grams that are new, in [0, 1].

    A 4-gram is new if it occurs neither earlier in its row, prompt included, nor in another completion of the group.
    4-grams across the end of the prompt belong to the completion. So loops, copies of the prompt and copies within a
    group have a novelty of 0. Completions of fewer than four tokens are extended by the tokens before them; rows of
    fewer than four tokens have a novelty of 1 if no other row of the group is equal, else 0.

    Args:
        token_ids: (T,) or (B, T), prompts and completions.
        mask: as `token_ids`, True for the tokens of the completion, which lie side by side; without it all are.
        groups: (B,) an integer each; rows with the same one answer the same prompt. Without it all do.

    Raises:
        InvalidValueError: shapes that do not fit.
    """
    ids, is_numpy = as_tensor("token_ids", token_ids)
    form = Form(is_numpy, is_single=ids.dim() == 1)
    if ids.dim() not in (1, 2) or ids.numel() == 0:
        raise InvalidValueError("token_ids", "must have the shape (T,) or (B, T), not empty", f"{tuple(ids.shape)}")
    ids = ids.reshape(-1, ids.shape[-1]).long()
    is_completion = torch.ones_like(ids, dtype=torch.bool)
    if mask is not None:
        is_completion = as_tensor("mask", mask)[0].reshape(-1, ids.shape[1]).bool().to(ids.device)
    group_of = torch.zeros(len(ids), dtype=torch.int64, device=ids.device)
    if groups is not None:
        group_of = as_tensor("groups", groups)[0].long().to(ids.device)
    if is_completion.shape != ids.shape or group_of.shape != ids.shape[:1]:
        raise InvalidValueError("mask", f"and `groups` must fit {tuple(ids.shape)} tokens", f"{is_completion.shape}")
    return form.give(novelty_of(ids, is_completion, group_of))


def novelty_of(ids: Tensor, is_completion: Tensor, groups: Tensor) -> Tensor:
    """Novelty (B,) float64 of checked tokens (B, T), completions' mask (B, T) and groups (B,)."""
    missing = max(0, GRAM_LENGTH - ids.shape[1])
    if missing:  # so that every row has a 4-gram: equal rows stay equal
        ids = torch.nn.functional.pad(ids, (missing, 0), value=-1)
        is_completion = torch.nn.functional.pad(is_completion, (missing, 0))
    grams = _gram_numbers(ids)  # (B, K): equal numbers for equal 4-grams
    ends_in_completion = is_completion[:, GRAM_LENGTH - 1 :]  # (B, K)
    num_grams = ends_in_completion.sum(dim=1)

    width = grams.shape[1]
    rows = torch.arange(len(ids), device=ids.device).repeat_interleave(width)
    _, group_ranks = torch.unique(groups, return_inverse=True)
    in_group = group_ranks.unsqueeze(1) * (int(grams.max()) + 1) + grams
    _, number = torch.unique(in_group.flatten(), return_inverse=True)  # (B K,): equal for equal 4-grams of a group
    is_counted = ends_in_completion.flatten()

    # The first place in its own row: stable sorting keeps places in order within (row, number).
    in_row = rows * (int(number.max()) + 1) + number
    ordered, order = in_row.sort(stable=True)
    is_first = torch.ones_like(is_counted)
    is_first[order[1:]] = ordered[1:] != ordered[:-1]

    # In how many completions it stands: one for each pair of a completion and a number.
    pairs = torch.unique(in_row[is_counted])
    holders = torch.bincount(pairs % (int(number.max()) + 1), minlength=int(number.max()) + 1)
    is_new = is_counted & is_first & (holders[number] == 1)
    return is_new.view(-1, width).sum(dim=1).double() / num_grams.clamp(min=1)


def _gram_numbers(ids: Tensor) -> Tensor:
    """A number (B, T - 3) for each 4-gram of tokens (B, T): exact, by numbering tokens, pairs, and pairs of pairs."""
    for distance in (1, 2):
        _, numbers = torch.unique(ids, return_inverse=True)
        ids = numbers[:, :-distance] * (int(numbers.max()) + 1) + numbers[:, distance:]
    return torch.unique(ids, return_inverse=True)[1]
