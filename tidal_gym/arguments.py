"""Rules for the arguments of a vector environment and of its `reset`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from lm.errors import InvalidValueError


def require_autoreset_mode(value: str | AutoresetMode) -> AutoresetMode:
    """A member of ``AutoresetMode``, which may be given by its name ("SAME_STEP") or value ("SameStep").

    Raises:
        InvalidValueError: there is no such mode.
    """
    for mode in AutoresetMode:
        if value in (mode, mode.name, mode.value):
            return mode
    modes = ", ".join(mode.value for mode in AutoresetMode)
    raise InvalidValueError("autoreset_mode", f"must be one of {modes}", repr(value))


def require_render_mode(value: str | None, render_modes: Sequence[str]) -> str | None:
    """One of `render_modes`, or None.

    Raises:
        InvalidValueError: anything else.
    """
    if value is not None and value not in render_modes:
        raise InvalidValueError("render_mode", f"must be None or one of {', '.join(render_modes)}", repr(value))
    return value


def require_reset_mask(options: dict[str, Any] | None, num_rows: int) -> NDArray[np.bool_]:
    """(N,) the rows that a reset begins anew: ``options["reset_mask"]``, or all.

    Raises:
        InvalidValueError: the mask is not an array (N,) of bool with at least one True.
    """
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.ones(num_rows, np.bool_)
    is_mask = isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (num_rows,) and mask.any()
    if not is_mask:
        rule = f"must be a numpy array of bool with shape ({num_rows},) and at least one True"
        raise InvalidValueError("options['reset_mask']", rule, repr(mask))
    return mask


def seeds_by_row(seed: int | Sequence[int | None] | None, num_rows: int) -> list[int | None]:
    """A seed for each of N rows: s, s + 1, ... from an integer s, a list as it is, None where there is no new seed.

    Raises:
        InvalidValueError: the list does not have N seeds.
    """
    if seed is None:
        return [None] * num_rows
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + row for row in range(num_rows)]
    if len(seed) != num_rows:
        raise InvalidValueError("seed", f"must be an integer or a list of {num_rows} seeds, one a row", repr(seed))
    return [None if value is None else int(value) for value in seed]
