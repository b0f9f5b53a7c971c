"""Positions in attention: rotary embeddings, and a bias towards near keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def rotary_cos_sin(position_ids: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, 1, T, head_dim) of rotary embeddings (arXiv:2104.09864) for position_ids (B, T)."""
    exponents = torch.arange(0, head_dim, 2, device=position_ids.device, dtype=torch.float64) / head_dim
    angles = position_ids[..., None].to(torch.float64) / theta**exponents  # (B, T, head_dim / 2)
    angles = torch.cat((angles, angles), dim=-1)[:, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def apply_rotary(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate states (B, H, T, head_dim) by position; channel c pairs with c + head_dim / 2."""
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


def focus_position_bias(focus_bias: Tensor, position_ids: Tensor, num_keys: int) -> Tensor:
    """Attention bias (B, 1, T, S) that favours near keys: ``-focus_bias (i - j) / max(i, 1)``, query i, key j.

    Args:
        focus_bias: (B,) or (B, T), gate times strength, at least 0.
        position_ids: (B, T) position of each query; its own key is at slot S - T + t.
        num_keys: S, cached and new keys together.
    """
    if focus_bias.dim() == 1:
        focus_bias = focus_bias[:, None]
    num_queries = position_ids.shape[1]
    query_slots = torch.arange(num_keys - num_queries, num_keys, device=position_ids.device)
    distance = query_slots[:, None] - torch.arange(num_keys, device=position_ids.device)  # (T, S)
    slope = -focus_bias / position_ids.clamp(min=1)  # (B, T)
    return (slope[..., None] * distance)[:, None]


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    **kwargs: object,
) -> tuple[Tensor, Tensor]:
    """Attention that also returns its weights: outputs (B, T, H, head_dim) and weights (B, H, T, S)."""
    scores = query @ key.transpose(2, 3) * scaling
    if position_bias is not None:
        scores = scores + position_bias
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.dropout(scores.softmax(dim=-1), p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), weights
