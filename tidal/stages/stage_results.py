"""Results of the stages of a long run, one JSON file for each finished stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm.errors import CheckpointError, InvalidValueError
from lm.passed_files import Record, checked, read_object, record_from
from lm.runs.whole_file import write_json


class StageResults:
    """Folder of stage results by stage name.

    Args:
        folder: folder, created when the first result is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._whole: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether the stage is done; False if its file is damaged."""
        if name not in self._whole and self._path(name).is_file():
            try:
                self.read(name)
            except CheckpointError:
                return False
        return name in self._whole

    def read(self, name: str) -> dict[str, Any]:
        """The result of a finished stage.

        Raises:
            CheckpointError: its file is damaged.
        """
        path = self._path(name)
        content = read_object(path)
        try:
            checked(float, content.get("seconds"), "seconds")
        except InvalidValueError as error:
            raise CheckpointError(f"{path} is damaged: it holds no stage's result: {error}") from error
        self._whole.add(name)
        return content

    def record(self, name: str, kind: type[Record], key: str | None = None) -> Record:
        """The result of a stage, or what it holds under a key, as the dataclass that it was made from.

        Raises:
            CheckpointError: the file is damaged, or holds something else.
        """
        content = self.read(name)
        del content["seconds"]
        return record_from(kind, content if key is None else content.get(key), self._path(name))

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a stage's result atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path(name), content)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
