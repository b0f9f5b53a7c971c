"""Files that appear whole or not at all, flushed to disk, with the permissions that the umask gives."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".partial"
"""Ending of the names of files and folders that are being written. A killed process leaves them."""


@contextmanager
def write_whole_file(path: str | Path) -> Iterator[Path]:
    """Give an empty file beside `path` to write to; once the block ends without error, it takes the name `path`.

    A kill, a full disk or Ctrl-C leaves the file at `path` as it was. A link is followed.
    """
    target = Path(os.path.realpath(path))
    partial = partial_name(target)
    try:
        partial.touch(exist_ok=False)
        mode = partial.stat().st_mode
        yield partial
        finish(partial, mode)
        os.replace(partial, target)
        flush_to_disk(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a file of UTF-8, whole or not at all."""
    with write_whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write a file of JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_json_lines(path: str | Path, contents: list[Any]) -> None:
    """Write a file with a line of JSON for each of `contents`, whole or not at all."""
    write_text(path, "".join(json.dumps(content) + "\n" for content in contents))


def append_json_line(path: str | Path, content: Any) -> None:
    """Append a line of JSON to a file and flush it to disk. A kill leaves at worst a last line that is cut off."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(content) + "\n")
        file.flush()
        os.fsync(file.fileno())


def partial_name(path: Path) -> Path:
    """A unique temporary name in the folder of `path`."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")


def finish(file: Path, mode: int) -> None:
    """Flush a written file to disk and set its mode; safetensors, for example, restricts files to their owner."""
    os.chmod(file, mode)
    flush_to_disk(file)


def flush_to_disk(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
