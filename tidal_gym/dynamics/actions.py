"""The action: three gates in [0, 1], and its checks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lm.errors import InvalidValueError
from lm.models.gate_names import GATE_NAMES


def require_gates(actions: ArrayLike, shape: tuple[int, ...], parameter: str = "actions") -> NDArray[np.float64]:
    """Checks actions and converts them to an array of gates.

    Args:
        actions: array-like of shape `shape`.
        shape: (N, 3), or (3,) for a single environment.
        parameter: parameter name in error messages.

    Returns:
        Gates of shape `shape`, float64.

    Raises:
        InvalidValueError: the actions have a wrong shape, are not numbers, not finite, or outside [0, 1]; names the
            value with its gate and row.
    """
    try:
        gates = np.asarray(actions, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(parameter, f"must be numbers of shape {shape}", repr(actions)) from error
    if gates.shape != shape:
        raise InvalidValueError(parameter, f"must have shape {shape}", f"shape {gates.shape}")
    is_valid = (gates >= 0.0) & (gates <= 1.0)  # False for NaN as well
    if not is_valid.all():
        where = tuple(np.argwhere(~is_valid)[0])
        row = f" in row {where[-2]}" if len(shape) > 1 else ""
        raise InvalidValueError(
            parameter, "must be finite and lie in [0, 1]", f"{gates[where]} for {GATE_NAMES[where[-1]]}{row}"
        )
    return gates
