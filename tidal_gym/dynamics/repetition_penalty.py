"""Repetition penalty of tokens that occur in the text."""

from __future__ import annotations

import torch
from torch import Tensor


def penalize(logits: Tensor, penalty: Tensor | float) -> Tensor:
    """Applies a repetition penalty to logits of repeated tokens: divides positive ones, multiplies the others.

    Source: Keskar et al. 2019 (arXiv:1909.05858), with the sign rule of transformers' processor.
    """
    return torch.where(logits > 0, logits / penalty, logits * penalty)
