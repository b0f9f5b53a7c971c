"""Checks of arguments of vector environments and of their `reset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from lm.checks import at_least, require_integer, require_text
from lm.errors import InvalidValueError


def require_names(required: Mapping[str, object], optional: Mapping[str, object]) -> None:
    """Checks that arguments are non-empty strings; optional ones may be None.

    Raises:
        InvalidValueError: an argument is not; names the first one.
    """
    for name, value in {**required, **{name: value for name, value in optional.items() if value is not None}}.items():
        require_text(name, value)


def require_autoreset_mode(value: str | AutoresetMode) -> AutoresetMode:
    """Converts a name ("SAME_STEP") or value ("SameStep") to a member of ``AutoresetMode``.

    Raises:
        InvalidValueError: the mode is unknown.
    """
    for mode in AutoresetMode:
        if value in (mode, mode.name, mode.value):
            return mode
    modes = ", ".join(mode.value for mode in AutoresetMode)
    raise InvalidValueError("autoreset_mode", f"must be one of {modes}", repr(value))


def require_render_mode(value: str | None, render_modes: Sequence[str]) -> str | None:
    """Checks that a render mode is None or one of `render_modes`.

    Raises:
        InvalidValueError: anything else.
    """
    if value is not None and value not in render_modes:
        raise InvalidValueError("render_mode", f"must be None or one of {', '.join(render_modes)}", repr(value))
    return value


def require_options(options: object, names: Sequence[str]) -> None:
    """Raises an error for unknown options of `reset`.

    Raises:
        InvalidValueError: `options` is not a mapping, or has keys that are not in `names`.
    """
    if options is not None and not isinstance(options, Mapping):
        raise InvalidValueError("options", "must be None or a mapping", repr(options))
    for name in options or ():
        if name not in names:
            rule = f"may only have the keys {', '.join(names)}" if names else "must be None or empty"
            raise InvalidValueError("options", rule, repr(name))


def require_reset_mask(options: dict[str, Any] | None, num_rows: int) -> NDArray[np.bool_]:
    """(N,) mask of the rows to reset: ``options["reset_mask"]``, or all.

    Raises:
        InvalidValueError: there are other options, or the mask is not a bool array (N,) with at least one True.
    """
    require_options(options, ("reset_mask",))
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.ones(num_rows, np.bool_)
    is_mask = isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (num_rows,) and mask.any()
    if not is_mask:
        rule = f"must be a numpy array of bool with shape ({num_rows},) and at least one True"
        raise InvalidValueError("options['reset_mask']", rule, repr(mask))
    return mask


def require_rows(rows: ArrayLike, count: int, most: int) -> NDArray[np.integer]:
    """Checks indices of rows: (`count`,) integers from 0 to `most` - 1.

    Raises:
        InvalidValueError: anything else.
    """
    indices = np.asarray(rows)
    if indices.dtype.kind not in "iu" or indices.shape != (count,) or not ((indices >= 0) & (indices < most)).all():
        raise InvalidValueError("rows", f"must be integers of shape ({count},) from 0 to {most - 1}", repr(rows))
    return indices


def require_uniforms(uniforms: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Checks random numbers in [0, 1) of a given shape.

    Raises:
        InvalidValueError: anything else.
    """
    numbers = np.asarray(uniforms)
    is_real = numbers.dtype.kind in "fiu" and numbers.shape == shape
    if not is_real or not ((numbers >= 0) & (numbers < 1)).all():
        rule = f"must be numbers in [0, 1) of shape {shape}"
        raise InvalidValueError("uniforms", rule, f"{numbers.dtype} of shape {numbers.shape}")
    return numbers.astype(np.float64)


def seeds_by_row(seed: int | Sequence[int | None] | None, num_rows: int) -> list[int | None]:
    """Seeds of N rows: s, s + 1, ... for an integer s, a list unchanged, None for rows without a new seed.

    Raises:
        InvalidValueError: a seed is not an integer of at least 0, or the list does not have N seeds.
    """
    if seed is None:
        return [None] * num_rows
    if isinstance(seed, (list, tuple, np.ndarray)):
        if len(seed) != num_rows:
            raise InvalidValueError("seed", f"must be an integer or a list of {num_rows} seeds, one a row", repr(seed))
        return [None if value is None else require_integer("seed", value, at_least(0)) for value in seed]
    first = require_integer("seed", seed, at_least(0))
    return [first + row for row in range(num_rows)]
