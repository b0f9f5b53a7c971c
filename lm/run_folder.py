"""Folders that hold a run: claimed once, never overwritten unasked, every file in them written whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from lm.errors import CheckpointError, InvalidValueError, OutputExistsError

CONFIG_FILE = "config.json"
PARTIAL = ".partial"


def claim(
    folder: str | Path, config: Any, *, resume: bool | None, overwrite: bool, adjustable: frozenset[str] = frozenset()
) -> Path:
    """Make a run's folder and write its configuration, a dataclass, as JSON.

    Args:
        folder: of the run.
        config: its configuration.
        resume: take the folder as it is; None: a run of this kind cannot be resumed.
        overwrite: remove the run that it holds.
        adjustable: dotted names of fields that may differ from the run that is resumed.

    Raises:
        InvalidValueError: both `resume` and `overwrite`.
        OutputExistsError: the folder is not empty, and neither `resume` nor `overwrite` was asked for, or what it holds
            is no run of this kind.
        CheckpointError: to be resumed, but the folder's run had another configuration; names what differs.
    """
    if resume and overwrite:
        raise InvalidValueError("overwrite", "must not be asked for together with `resume`", overwrite)
    folder = Path(folder)
    ours = json.loads(json.dumps(dataclasses.asdict(config)))
    # A run that was killed at its very first write has left that alone.
    if folder.exists() and any(entry.name != CONFIG_FILE + PARTIAL for entry in folder.iterdir()):
        theirs = _config_of_run(folder, ours)
        if theirs is None:
            raise OutputExistsError(
                f"The output folder {folder} holds something that is no run of this kind and is left as it is. "
                "Choose another."
            )
        if overwrite:
            shutil.rmtree(folder)
        elif not resume:
            ways = "Choose another" if resume is None else "Choose another, continue it with `--resume`,"
            raise OutputExistsError(
                f"The output folder {folder} already holds a run. {ways} or replace it with `--overwrite`."
            )
        else:
            differing = {name: text for name, text in _differences(theirs, ours) if name not in adjustable}
            if differing:
                listed = "; ".join(differing[name] for name in sorted(differing))
                raise CheckpointError(f"The run in {folder} cannot be resumed with another configuration: {listed}.")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG_FILE, ours)
    return folder


def write_json(path: Path, content: Any) -> None:
    """Write JSON beside `path` and rename it into place."""
    replace_text(path, json.dumps(content, indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write UTF-8 beside `path` and rename it into place."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _config_of_run(folder: Path, ours: dict[str, Any]) -> dict[str, Any] | None:
    """The configuration of the run in a folder; None if there is none, or one of another kind of run or of a model."""
    try:
        theirs = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return theirs if isinstance(theirs, dict) and theirs.keys() == ours.keys() else None


def _differences(theirs: Any, ours: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = theirs.keys() | ours.keys()
        return [
            difference
            for key in keys
            for difference in _differences(theirs.get(key), ours.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if theirs == ours else [(name, f"`{name}` was {theirs} and is {ours}")]
