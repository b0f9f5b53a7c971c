"""Names of models: those that ship with the package, and the folders that they stand for."""

from __future__ import annotations

import os
from pathlib import Path

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
"""Models that ship with the package, a folder each."""

DEFAULT_JUDGE = "tidal-judge"
"""Bundled model that is the default judge."""


def bundled_models() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.name for path in BUNDLED_FOLDER.iterdir() if path.is_dir()) if BUNDLED_FOLDER.is_dir() else []


def resolve(model: str) -> str:
    """Folder of a bundled model, or the name itself: a folder or a hub id."""
    return str(BUNDLED_FOLDER / model) if model in bundled_models() else os.path.expanduser(model)
