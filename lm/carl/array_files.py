"""Arrays from .npy and .npz files, which are never unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.errors import InvalidValueError
from lm.paths import user_path


def load_array(path: str | Path, name: str) -> NDArray[Any]:
    """The array of a .npy file, or the one called `name` of a .npz file; the only one there may have any name.

    Raises:
        InvalidValueError: there is no such file or array, it is damaged, or it holds objects.
    """
    arrays = load_arrays(path)
    if name in arrays:
        return arrays[name]
    if len(arrays) != 1:
        raise InvalidValueError(name, f"must be an array in {path}", f"a file with {', '.join(arrays) or 'none'}")
    return next(iter(arrays.values()))


def load_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file by name; that of a .npy file is called "".

    Raises:
        InvalidValueError: there is no such file, it is damaged, or it holds objects.
    """
    file = user_path(path)
    if file.suffix not in (".npy", ".npz") or not file.is_file():
        raise InvalidValueError("file", "must be an existing .npy or .npz file", path)
    try:
        with file.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            arrays = {name: loaded[name] for name in loaded.files} if hasattr(loaded, "files") else {"": loaded}
    except (ValueError, EOFError, OSError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error) as error:
        rule = "must hold arrays of numbers; arrays of objects are refused, as reading them may run code"
        # NumPy goes on to advise how to read such files all the same.
        reason = str(error).partition(". ")[0].rstrip(".")
        raise InvalidValueError("file", rule, f"{path}: {reason}") from error
    return {name: _readable(array, name, path) for name, array in arrays.items()}


def _readable(array: NDArray[Any], name: str, path: str | Path) -> NDArray[Any]:
    """Numbers in this machine's byte order and in a type that torch has; long doubles are rounded."""
    if array.dtype.kind not in "biuf":
        where = f"{path}: array `{name}`" if name else str(path)
        raise InvalidValueError("file", "must hold arrays of numbers or of true and false", f"{where} of {array.dtype}")
    is_long = array.dtype.kind == "f" and array.dtype.itemsize > 8
    return array.astype(np.float64 if is_long else array.dtype.newbyteorder("="), copy=False)
