"""Folders that appear whole or not at all, flushed to disk, with the permissions that the umask gives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lm.runs.whole_file import finish, flush_to_disk, partial_name


@contextmanager
def write_whole_folder(folder: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a folder beside `folder` to write into; once the block ends without error, it takes the name `folder`.

    A kill, a full disk or Ctrl-C leaves whatever was at `folder` as it was, at worst under the name ``folder.old``,
    from where the next call takes it back.

    Args:
        folder: where it is to be.
        replace: replace a folder that is there; else the one that is there first stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, old = partial_name(folder), folder.with_name(f"{folder.name}.old")
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        finish_folder(partial)
        if folder.exists():
            if not replace:
                return
            folder.rename(old)
        partial.rename(folder)
        flush_to_disk(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def finish_folder(folder: Path) -> None:
    """Give every file in a folder the mode that the umask gives, and flush them and the folder to disk."""
    probe = folder / ".mode"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            flush_to_disk(path)
        elif path.is_file() and not path.is_symlink():
            finish(path, mode)
