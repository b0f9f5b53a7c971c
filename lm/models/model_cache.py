"""A bounded cache of loaded models, keyed by the content of their files, for any number of threads."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

MODELS_KEPT = 4
"""Models that stay loaded although nothing uses them, the last ones that were requested."""

LOADING = threading.RLock()
"""Held while a model is loaded: transformers sets process-wide defaults meanwhile, so two loads must not overlap."""

Value = TypeVar("Value")


class ModelCache(Generic[Value]):
    """Keeps the values that were requested last. Each key is loaded once, also when several threads request it.

    Args:
        size: maximum number of cached values, at least 1. Dropped values stay valid for their users.
    """

    def __init__(self, size: int = MODELS_KEPT) -> None:
        self.size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """The value under `key`; without one, the value that `load` returns is kept under it."""
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
    """Identifies what a file or a folder of files holds now; another value once any of them is written again.

    A name that is no path, a hub id for instance, identifies itself.
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
