"""Checksums of weights in ``SHA256SUMS`` beside them, as ``sha256sum`` writes and checks them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lm.errors import CheckpointError
from lm.passed_files import read_text
from lm.runs.whole_file import write_text

FILE_NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def write_checksums(folder: Path, pattern: str = "*.safetensors") -> None:
    """List the files of a folder whose names fit the pattern."""
    files = (file for file in folder.glob(pattern) if file.is_file() and file.name != FILE_NAME)
    _write(folder, {file.name: _checksum(file) for file in files})


def require_unchanged(path: Path) -> None:
    """Check a file, or all listed files of a folder, against the list beside it; what is not listed is not checked.

    Raises:
        CheckpointError: a file is not the one that was listed, or the list is damaged.
    """
    folder = path if path.is_dir() else path.parent
    for name, checksum in _listed(folder).items():
        file = folder / name
        if path not in (folder, file):
            continue
        if not file.is_file():
            raise CheckpointError(f"{folder} is damaged: it lacks {name}, which {FILE_NAME} lists.")
        if _checksum(file) != checksum:
            raise CheckpointError(
                f"{file} is damaged: its checksum is not the one in {FILE_NAME}. Fetch or make it again; if "
                "you changed it on purpose, remove its line there."
            )


@contextmanager
def relisted(path: Path) -> Iterator[None]:
    """Keep the list in a file's folder right, where there is one, while the file is written anew.

    A kill leaves the file unlisted rather than refused.
    """
    if not (path.parent / FILE_NAME).is_file():
        yield
        return
    others = {name: checksum for name, checksum in _listed(path.parent).items() if name != path.name}
    _write(path.parent, others)
    yield
    _write(path.parent, others | {path.name: _checksum(path)})


def _listed(folder: Path) -> dict[str, str]:
    """Checksums by names of files."""
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    listed = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        found = _LINE.fullmatch(line)
        if not found or Path(found[2]).name != found[2]:
            raise CheckpointError(f"{path} is damaged: line {number} is no checksum with the name of a file beside it.")
        listed[found[2]] = found[1]
    return listed


def _write(folder: Path, checksums: dict[str, str]) -> None:
    write_text(folder / FILE_NAME, "".join(f"{checksums[name]}  {name}\n" for name in sorted(checksums)))


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
