"""Completions of the same prompt as groups."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Prompt = str | Sequence[dict[str, Any]]
"""Text, or messages."""


def group_numbers(prompts: Sequence[Prompt]) -> Tensor:
    """A number (B,) for each prompt, equal for equal ones."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(json.dumps(prompt, default=repr), len(numbers)) for prompt in prompts])


def flat_groups(rewards: Sequence[float | None], prompts: Sequence[Prompt]) -> float:
    """Share of the groups whose rewards are all equal, from which GRPO learns nothing, in [0, 1]."""
    found: dict[int, set[float | None]] = {}
    for number, reward in zip(group_numbers(prompts).tolist(), rewards, strict=True):
        found.setdefault(number, set()).add(reward)
    return sum(len(values) == 1 for values in found.values()) / len(found)
