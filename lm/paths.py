"""Paths that people give: on the command line, in configurations, in Python."""

from __future__ import annotations

import os
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """A path with ``~`` and ``~name`` expanded; where there is no such home, as it was."""
    return Path(os.path.expanduser(path))
