"""The k largest numbers of long rows, faster than by one selection over everything."""

from __future__ import annotations

import torch
from torch import Tensor

_GROUP_SIZE = 8
_LEAST_GROUPS = 4
"""Groups for each wanted number, below which one selection is as fast."""


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest values of each row and their columns, (N, K) each and in no order, K = min(k, V).

    The columns are dealt into groups of 8. Any of the k largest values lies in one of the k groups with the largest
    maxima, so two selections, over the maxima and within these groups, find them: half the time of ``torch.topk`` for
    64 rows of 4,096. Which of several equal values make up the k-th place is not defined, as in ``torch.topk``.

    Args:
        values: (N, V).
        k: at least 1.
    """
    num_rows, width = values.shape
    num_groups = width // _GROUP_SIZE
    if num_groups < _LEAST_GROUPS * k:
        top = values.topk(min(k, width), dim=1, sorted=False)
        return top.values, top.indices
    # Group j holds the columns j, j + num_groups, ...; what remains at the end of a row is looked at as it is.
    maxima = values[:, : num_groups * _GROUP_SIZE].unflatten(1, (_GROUP_SIZE, num_groups)).amax(dim=1)
    groups = maxima.topk(k, dim=1, sorted=False).indices  # (N, k)
    starts = torch.arange(0, num_groups * _GROUP_SIZE, num_groups, device=values.device)
    columns = (groups.unsqueeze(1) + starts.unsqueeze(1)).flatten(1)  # (N, 8 k)
    rest = torch.arange(num_groups * _GROUP_SIZE, width, device=values.device)
    columns = torch.cat((columns, rest.expand(num_rows, -1)), dim=1)
    top = values.gather(1, columns).topk(k, dim=1, sorted=False)
    return top.values, columns.gather(1, top.indices)
