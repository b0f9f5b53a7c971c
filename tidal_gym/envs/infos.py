"""Info dictionaries in Gymnasium's vector convention: an array per key, and the mask ``_key`` of rows that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_arrays(report: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """A step's report, (N,) each, off the device: float64, but for the int64 `token`."""
    # One transfer for all; float64 holds every token id.
    columns = torch.stack([column.double() for column in report.values()]).cpu().numpy()
    values: dict[str, NDArray[Any]] = dict(zip(report, columns, strict=True))
    values["token"] = values["token"].astype(np.int64)
    return values


def step_infos(
    values: Mapping[str, NDArray[Any]],
    has_stepped: NDArray[np.bool_],
    token_ids: Sequence[list[int]],
    is_over: NDArray[np.bool_],
) -> dict[str, Any]:
    """Infos of a step without autoreset, or under NEXT_STEP.

    Args:
        values: (N,) each.
        has_stepped: (N,) rows that the step counts for.
        token_ids: the whole episode of each row that is over.
        is_over: (N,) rows whose episodes ended in the step.
    """
    infos = masked(values, has_stepped)
    if token_ids:
        add_objects(infos, "token_ids", token_ids, is_over)
    return infos


def same_step_infos(
    values: Mapping[str, NDArray[Any]],
    observations: NDArray[np.float32],
    token_ids: Sequence[list[int]],
    is_over: NDArray[np.bool_],
) -> dict[str, Any]:
    """Infos of a step under SAME_STEP autoreset: those of rows that are over are in ``final_info`` and ``final_obs``.

    Args:
        values: (N,) each.
        observations: (N, 64) at the end of the step, before rows begin anew.
        token_ids: the whole episode of each row that is over.
        is_over: (N,) rows whose episodes ended in the step.
    """
    infos = masked(values, ~is_over)
    if token_ids:
        infos["final_info"] = step_infos(values, is_over, token_ids, is_over)
        infos["_final_info"] = is_over.copy()
        add_objects(infos, "final_obs", [row.copy() for row in observations[is_over]], is_over)
    return infos


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
