"""Drawing tokens: top-k and top-p truncation, and inverse-CDF draws from given uniforms."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k_mask(logits: Tensor, k: int) -> Tensor:
    """Logits (N, V) with all but the k largest of each row at -inf."""
    kept = logits.topk(min(k, logits.shape[-1]), dim=-1)
    return torch.full_like(logits, -torch.inf).scatter_(-1, kept.indices, kept.values)


def top_p_mask(logits: Tensor, p: float) -> Tensor:
    """Logits (N, V) without the tail beyond the smallest set of total probability at least p (arXiv:1904.09751)."""
    ordered, order = logits.sort(dim=-1, descending=True)
    mass_before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
    ordered = ordered.masked_fill(mass_before >= p, -torch.inf)  # the first token is always kept
    return torch.full_like(logits, -torch.inf).scatter_(-1, order, ordered)


def inverse_cdf_sample(probs: Tensor, uniforms: Tensor) -> Tensor:
    """Index (N,) of the first entry of each row whose cumulative probability exceeds the row's uniform.

    Args:
        probs: (N, K) at least 0; rows need not sum to exactly 1.
        uniforms: (N,) in [0, 1).
    """
    cumulative = probs.cumsum(dim=-1)
    totals = cumulative[:, -1]
    # Just below the total at most: a uniform near 1 can round up to it, and entries of probability 0 may lie beyond.
    thresholds = torch.minimum(uniforms.to(probs.dtype) * totals, torch.nextafter(totals, torch.zeros_like(totals)))
    return torch.searchsorted(cumulative, thresholds[:, None], right=True).squeeze(-1)
