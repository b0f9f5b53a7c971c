"""Checks and converts the inputs of scores: NumPy arrays or tensors, one sequence or a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.errors import InvalidValueError

Array = NDArray[Any] | Tensor
"""A NumPy array, or a tensor."""

Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Form:
    """Form of the caller's arrays, for results of the same form."""

    is_numpy: bool
    is_single: bool
    """Whether the input is one sequence, without batch axis."""

    def give(self, values: Tensor) -> Any:
        """Values (B, ...) in the caller's form: without B for one sequence, and floats or arrays for NumPy."""
        if self.is_single:
            values = values[0]
        if not self.is_numpy:
            return values
        return values.item() if values.dim() == 0 else values.cpu().numpy()

    def give_all(self, values: Mapping[str, Tensor]) -> dict[str, Any]:
        """:meth:`give` for each value."""
        return {name: self.give(value) for name, value in values.items()}


def read_logits(logits: Array) -> tuple[Tensor, Form]:
    """Logits (B, T, V) as a tensor, without a copy where none is needed, and the form they came in.

    Raises:
        InvalidValueError: they are no floating-point array of rank 2 or 3, they are empty, or the vocabulary has fewer
            than two words.
    """
    tensor, is_numpy = as_tensor("logits", logits)
    if tensor.dim() not in (2, 3):
        raise InvalidValueError("logits", "must have the shape (T, V) or (B, T, V)", f"{tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        raise InvalidValueError("logits", "must be floating-point numbers", tensor.dtype)
    if tensor.shape[-1] < 2:
        raise InvalidValueError("logits", "must be over a vocabulary of at least two words", tensor.shape[-1])
    if tensor.numel() == 0:
        raise InvalidValueError("logits", "must hold at least one prediction", f"{tuple(tensor.shape)}")
    is_single = tensor.dim() == 2
    return (tensor.unsqueeze(0) if is_single else tensor), Form(is_numpy, is_single)


def read_token_ids(token_ids: Array, logits: Tensor, form: Form) -> Tensor:
    """Token ids (B, T), int64, where the logits are (B, T, V).

    Raises:
        InvalidValueError: they are no integers, or not as long as the logits.
    """
    ids = _read_beside("token_ids", token_ids, logits, form)
    if ids.is_floating_point() or ids.dtype in (torch.bool, torch.complex64, torch.complex128):
        raise InvalidValueError("token_ids", "must be integers", ids.dtype)
    return ids.long()


def read_mask(mask: Array | None, logits: Tensor, form: Form) -> Tensor:
    """Mask (B, T), bool; all True without one.

    Raises:
        InvalidValueError: it is not as long as the logits, or of floating-point numbers.
    """
    if mask is None:
        return torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
    chosen = _read_beside("mask", mask, logits, form)
    if chosen.is_floating_point():
        raise InvalidValueError("mask", "must be booleans, or integers 0 and 1", chosen.dtype)
    return chosen.bool()


def as_tensor(parameter: str, array: Array) -> tuple[Tensor, bool]:
    """An array as a tensor that shares its memory where it can, and whether it was NumPy's.

    Raises:
        InvalidValueError: it is no array of numbers.
    """
    if isinstance(array, Tensor):
        return array.detach(), False
    try:
        numbers = np.asarray(array)
    except ValueError as error:  # rows of different lengths
        raise InvalidValueError(parameter, "must be an array of numbers", repr(array)) from error
    if numbers.dtype.kind not in "fiub":
        raise InvalidValueError(parameter, "must be an array of numbers", f"an array of {numbers.dtype}")
    if numbers.dtype.kind == "u" and numbers.dtype.itemsize > 1:
        numbers = numbers.astype(np.int64)
    return torch.from_numpy(np.require(numbers, requirements=("C", "W"))), True


def require_scored(mask: Tensor) -> None:
    """Every row of the mask (B, T) has a token to score.

    Raises:
        InvalidValueError: one has none.
    """
    lengths = mask.sum(dim=1)
    if mask.shape[1] == 0 or not bool((lengths > 0).all()):
        empty = (lengths == 0).nonzero().flatten().tolist()
        raise InvalidValueError("token_ids", "must hold a token to score in every row", f"none in row {empty[:8]}")


def require_in_vocabulary(token_ids: Tensor, mask: Tensor, vocab_size: int) -> None:
    """The ids (B, T) under the mask (B, T) are words of the vocabulary.

    Raises:
        InvalidValueError: one is not.
    """
    is_outside = ((token_ids < 0) | (token_ids >= vocab_size)) & mask
    if bool(is_outside.any()):
        first = int(token_ids[is_outside][0])
        raise InvalidValueError("token_ids", f"must lie in the vocabulary, 0 to {vocab_size - 1}", first)


def _read_beside(parameter: str, array: Array, logits: Tensor, form: Form) -> Tensor:
    tensor, _ = as_tensor(parameter, array)
    expected = tuple(logits.shape[1:2] if form.is_single else logits.shape[:2])
    if tuple(tensor.shape) != expected:
        raise InvalidValueError(parameter, f"must have the shape {expected} of the logits", f"{tuple(tensor.shape)}")
    tensor = tensor.to(logits.device)
    return tensor.unsqueeze(0) if form.is_single else tensor
