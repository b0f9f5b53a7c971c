"""Refusal of sizes that the memory does not hold, before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from lm.errors import InvalidValueError


def require_memory(parameter: str, value: int, use: str, needed: Callable[[int], float]) -> None:
    """Requires that what a value of a parameter needs is free.

    Args:
        parameter: name of the size.
        value: of it, at least 1.
        use: what the memory is needed for.
        needed: bytes for a value, a lower bound that grows with it.

    Raises:
        InvalidValueError: the memory is not free; says how much is, and which value fits.
    """
    free = psutil.virtual_memory().available
    if needed(value) <= free:
        return
    fits, too_much = 0, value
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        fits, too_much = (middle, too_much) if needed(middle) <= free else (fits, middle)
    rule = f"must be small enough for {use}, which needs {_gigabytes(needed(value))}; {free / 1e9:.1f} GB are free"
    raise InvalidValueError(parameter, rule, value, f"At most {fits} fits." if fits else "")


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count < 1e18 else "more than any machine has"
