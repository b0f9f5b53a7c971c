"""What the stages of a long run came to: a JSON file each, there as soon as its stage is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lm.run_folder import write_json


class StageResults:
    """A folder of results by name of the stage.

    Args:
        folder: made when the first result is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def read(self, name: str) -> dict[str, Any]:
        """The result of a stage that is done."""
        content: dict[str, Any] = json.loads(self._path(name).read_text(encoding="utf-8"))
        return content

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Keep a stage's result, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path(name), content)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
