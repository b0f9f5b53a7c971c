"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_whole_folder(folder: Path, *, unique: bool = False) -> Iterator[Path]:
    """Give a folder beside `folder` to write into; once the block ends without error, it takes the name `folder`.

    A kill, a full disk or Ctrl-C leaves whatever was at `folder` as it was, at worst under the name ``folder.old``,
    from where the next call takes it back. A folder already there is replaced.

    Args:
        folder: where it is to be.
        unique: take a name for the partial folder that no other process takes; for a folder that several may make.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    own = f".{os.getpid()}-{threading.get_ident()}" if unique else ""
    partial, old = (folder.with_name(f"{folder.name}{own}{suffix}") for suffix in (".partial", ".old"))
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        for path in [*partial.iterdir(), partial]:
            _flush_to_disk(path)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
