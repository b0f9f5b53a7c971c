"""The three scores of CARL, along sequences of Φ, for all sequences of a batch at once.

They are those of github.com/wheattoast11/carl (carl.py), where each is a loop over one sequence.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lm.carl.constants import DEFECT_THRESHOLD
from lm.carl.inputs import Array, Form, as_tensor
from lm.errors import InvalidValueError

MOST_SCALES = 16
"""Block sizes 2^0, 2^1, ... 2^15 at most."""

NEUTRAL_SCORE = 0.5
"""Score of a sequence that is too short."""


def multiscale_coherence(phi: Array, lengths: Array | None = None) -> Any:
    """Multiscale coherence: evenness of Φ within blocks of 1, 2, 4, ... tokens, in [0, 1].

    At scale j the sequence is cut into whole blocks of 2^j tokens, and s_j = 1 − mean standard deviation of Φ within a
    block, clipped to [0, 1]. The score is Σ w_j s_j / Σ w_j with w_j = 2^(j/2) over the scales that fit; 0.5 for a
    single token. The blocks of one token are even by definition.

    Args:
        phi: (T,) or (B, T).
        lengths: (B,) number of tokens of each row, at least 1; None: all.
    """
    values, counts, form = _read(phi, lengths)
    total, weight_sum = values.new_zeros(2, len(values)).unbind()
    means, squares = values, torch.zeros_like(values)  # (B, blocks) of each block, squares from its mean
    for scale in range(min(values.shape[1].bit_length(), MOST_SCALES)):
        size, num_blocks = 1 << scale, means.shape[1]
        is_whole = torch.arange(1, num_blocks + 1, device=values.device) * size <= counts.unsqueeze(1)
        spread = (squares / size).sqrt_().where(is_whole, 0.0).sum(dim=1) / is_whole.sum(dim=1).clamp(min=1)
        weight = 2.0 ** (scale / 2) * is_whole[:, 0].double()
        total += weight * (1.0 - spread).clamp(0.0, 1.0)
        weight_sum += weight
        # Two neighbours make a block of the next scale (Chan et al. 1983); a last one without a neighbour makes none.
        (left, right), (left_squares, right_squares) = (
            tensor[:, : num_blocks // 2 * 2].unflatten(1, (-1, 2)).unbind(2) for tensor in (means, squares)
        )
        means, squares = (left + right) / 2, left_squares + right_squares + (right - left) ** 2 * (size / 2)
    return form.give(torch.where(counts < 2, NEUTRAL_SCORE, total / weight_sum))


def cloud_quality(phi: Array, probability: Array, lengths: Array | None = None) -> Any:
    """Cloud quality: mean of Φ times the probability of the chosen token, in [0, 1].

    Args:
        phi: (T,) or (B, T).
        probability: of the chosen tokens, as `phi`.
        lengths: (B,) number of tokens of each row, at least 1; None: all.
    """
    values, counts, form = _read(phi, lengths)
    chosen, _, _ = _read(probability, lengths)
    if chosen.shape != values.shape:
        raise InvalidValueError("probability", f"must have the shape {tuple(values.shape)} of `phi`", chosen.shape)
    return form.give(mean(values * chosen, counts))


def discontinuity_score(phi: Array, lengths: Array | None = None) -> Any:
    """Discontinuity score: mean value of the jumps |ΔΦ| > 0.03 between adjacent tokens, in [0.2, 0.8]; 0.5 without any.

    An increase has the value 0.8 from Φ < 0.5 and 0.3 from above; a decrease 0.2 from Φ > 0.7 and 0.5 from below.

    Args:
        phi: (T,) or (B, T).
        lengths: (B,) number of tokens of each row, at least 1; None: all.
    """
    values, counts, form = _read(phi, lengths)
    worth, is_jump = jumps(values[:, :-1], values[:, 1:])
    is_jump &= torch.arange(1, values.shape[1], device=values.device) < counts.unsqueeze(1)
    num_jumps = is_jump.sum(dim=1)
    score = worth.where(is_jump, 0.0).sum(dim=1) / num_jumps.clamp(min=1)
    return form.give(torch.where(num_jumps == 0, NEUTRAL_SCORE, score))


def jumps(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Value of a change of Φ from `before` to `after`, and whether it is a discontinuity; shapes as given."""
    change = after - before
    rise = before.new_tensor(0.8).where(before < 0.5, before.new_tensor(0.3))
    fall = before.new_tensor(0.2).where(before > 0.7, before.new_tensor(0.5))
    return torch.where(change > 0, rise, fall), change.abs() > DEFECT_THRESHOLD


def mean(values: Tensor, counts: Tensor) -> Tensor:
    """Mean (B,) of the first `counts` (B,) values (B, T) of each row."""
    is_token = torch.arange(values.shape[1], device=values.device) < counts.unsqueeze(1)
    return values.where(is_token, 0.0).sum(dim=1) / counts


def _read(values: Array, lengths: Array | None) -> tuple[Tensor, Tensor, Form]:
    tensor, is_numpy = as_tensor("phi", values)
    if tensor.dim() not in (1, 2) or tensor.numel() == 0:
        raise InvalidValueError("phi", "must have the shape (T,) or (B, T), not empty", f"{tuple(tensor.shape)}")
    form = Form(is_numpy, is_single=tensor.dim() == 1)
    tensor = tensor.double().reshape(-1, tensor.shape[-1])
    if lengths is None:
        return tensor, torch.full((len(tensor),), tensor.shape[1], device=tensor.device), form
    counts, _ = as_tensor("lengths", lengths)
    if tuple(counts.shape) != (len(tensor),) or bool(((counts < 1) | (counts > tensor.shape[1])).any()):
        rule = f"must hold a length from 1 to {tensor.shape[1]} for each of {len(tensor)} rows"
        raise InvalidValueError("lengths", rule, counts.tolist())
    return tensor, counts.to(tensor.device), form
