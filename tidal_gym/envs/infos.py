"""Info dictionaries in Gymnasium's vector convention: an array per key, and the mask ``_key`` of rows that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def masked(values: Mapping[str, NDArray[Any]], rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Info of the rows (N,) that are True from values (N, ...); other rows are zero. All keys share one mask array."""
    mask = rows.copy()
    is_whole = bool(mask.all())
    info: dict[str, Any] = {}
    for key, array in values.items():
        info[key] = array if is_whole else np.where(mask, array, array.dtype.type(0))
        info[f"_{key}"] = mask
    return info


def add_objects(info: dict[str, Any], key: str, objects: Sequence[Any], rows: NDArray[np.bool_]) -> None:
    """Adds one object for each row (N,) that is True, in order; other rows are None."""
    column = np.full(len(rows), None, dtype=object)
    for row, value in zip(np.flatnonzero(rows), objects, strict=True):
        column[row] = value
    info[key], info[f"_{key}"] = column, rows.copy()


def of_step(infos: Mapping[str, Any], key: str, is_over: NDArray[np.bool_]) -> Any:
    """Values (N, ...) of the step itself in a vector env's infos; under SAME_STEP, of finished rows in the final info.

    Args:
        infos: infos of the step.
        key: key of the values.
        is_over: (N,) mask of rows whose episodes ended in the step.
    """
    final = infos.get("final_info", {})
    if key not in final or key not in infos:
        return final[key] if key in final else infos[key]
    rows = np.expand_dims(is_over, tuple(range(1, infos[key].ndim)))
    return np.where(rows, final[key], infos[key])


def of_single_row(info: Mapping[str, Any]) -> dict[str, Any]:
    """The info of a single row in a scalar environment's form: Python numbers and objects, no masks."""
    single = {}
    for key, column in info.items():
        if not key.startswith("_") and info[f"_{key}"][0]:
            single[key] = column[0] if column.dtype == object else column[0].item()
    return single
