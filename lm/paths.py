"""Paths given by users: on the command line, in configurations, in Python."""

from __future__ import annotations

import os
from pathlib import Path

from lm.errors import InvalidValueError


def user_path(path: str | Path) -> Path:
    """A path with ``~`` and ``~name`` expanded; where there is no such home, as it was.

    Raises:
        InvalidValueError: it is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidValueError("path", "must be text or a path", repr(path))
    return Path(os.path.expanduser(path))
