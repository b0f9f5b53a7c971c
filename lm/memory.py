"""Checks that sizes fit into the free memory, before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from lm.errors import InvalidValueError


def require_memory(
    parameter: str, value: int, use: str, needed: Callable[[int], float], device: str = "cpu"
) -> None:
    """Checks that the memory for a size is free.

    Args:
        parameter: name of the size.
        value: value of the size, at least 1.
        use: purpose of the memory.
        needed: function from a value to a lower bound of the memory [bytes], increasing.
        device: device whose memory is used.

    Raises:
        InvalidValueError: the memory is not free; names the free memory and the largest value that fits.
    """
    free = _free(device)
    if needed(value) <= free:
        return
    fits, too_much = 0, value
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        fits, too_much = (middle, too_much) if needed(middle) <= free else (fits, middle)
    rule = f"must be small enough for {use}, which needs {_gigabytes(needed(value))}; {free / 1e9:.1f} GB are free"
    raise InvalidValueError(parameter, rule, value, f"At most {fits} fits." if fits else "")


def _free(device: str) -> int:
    """Free memory of a device [bytes]."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count < 1e18 else "more than any machine has"
