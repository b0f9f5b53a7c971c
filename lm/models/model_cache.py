"""Thread-safe LRU cache of loaded models, keyed by the content of their files."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

MODELS_KEPT = 4
"""Number of unused models that stay loaded."""

LOADING = threading.RLock()
"""Lock for loading models: transformers changes process-wide defaults meanwhile."""

Value = TypeVar("Value")


class ModelCache(Generic[Value]):
    """LRU cache; each key is loaded once, also when several threads request it.

    Args:
        size: maximum number of cached values, at least 1. Dropped values stay valid for their users.
    """

    def __init__(self, size: int = MODELS_KEPT) -> None:
        self.size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """Returns the value of `key`, loading it with `load` if it is not cached."""
        value = self._kept(key)
        if value is None:
            with LOADING:
                value = self._kept(key)  # another thread may have loaded it meanwhile
                if value is None:
                    value = load()
                    with self._lock:
                        self._values[key] = value
                        while len(self._values) > self.size:
                            self._values.popitem(last=False)
        return value

    def _kept(self, key: Hashable) -> Value | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)


def content_key(source: str | Path) -> Hashable:
    """Key of the current content of a file or folder; changes when a file is written.

    The key of a name that is no path, such as a hub id, is the name itself.
    """
    path = Path(source)
    if os.path.isdir(path):
        files = sorted(entry for entry in path.iterdir() if entry.is_file())
    elif os.path.isfile(path):
        files = [path]
    else:
        return str(source)
    return os.path.realpath(path), tuple((file.name, *_version(file)) for file in files)


def _version(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
