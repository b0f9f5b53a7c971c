"""A lock on a run's folder: one run writes to it at a time.

The lock is the kernel's (``flock``) on a file in the folder. The kernel releases it when the process that holds it
ends, however it ends: a lock is never stale, and no process number has to be trusted. What the file says only serves
the message that names the holder.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shlex
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import NamedTuple

from lm.errors import RunInUseError

LOCK_FILE = "run.lock"


class _Lock(NamedTuple):
    descriptor: int
    """File descriptor of the open lock file."""
    thread: int
    """Identity of the thread that took the lock."""


_held: dict[str, _Lock] = {}
"""The locks of this process, by the real path of the folder."""


def acquire(folder: Path) -> None:
    """Lock a folder that exists, until :func:`release` or the end of the process.

    A thread may acquire a folder again that it holds already.

    Raises:
        RunInUseError: another process or thread holds the folder; names the holder and the time.
    """
    path = os.path.realpath(folder)
    held = _held.get(path)
    if held is None or held.thread != threading.get_ident():
        _held[path] = _Lock(_locked(Path(path, LOCK_FILE)), threading.get_ident())


def release(folder: Path) -> None:
    """Let others acquire a folder. Does nothing where this process does not hold it."""
    path = os.path.realpath(folder)
    if (lock := _held.pop(path, None)) is not None:
        Path(path, LOCK_FILE).unlink(missing_ok=True)
        os.close(lock.descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process holds the folder's lock."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _locked(file: Path) -> int:
    """Open and lock a file; returns its descriptor."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_open(file, descriptor):  # the last holder removed it between the two calls
                os.close(descriptor)
                continue
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(_this_process()).encode())
        except BlockingIOError:
            message = f"The run in {file.parent} is in use{_holder(file)}."
            os.close(descriptor)
            raise RunInUseError(f"{message} Wait until it ends, or choose another folder.") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                os.close(descriptor)
                raise
            warnings.warn(
                f"The file system of {file.parent} has no locks: nothing keeps a second run out of it.", stacklevel=4
            )
        return descriptor


def _is_open(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _this_process() -> dict[str, object]:
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "command": shlex.join([os.path.basename(sys.argv[0]) or "python", *sys.argv[1:]])[:200],
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _holder(file: Path) -> str:
    """Description of a lock's holder from its file; empty if not written yet."""
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
        host = "" if holder["host"] == platform.node() else f" on {holder['host']}"
        return f" by process {holder['pid']}{host} (`{holder['command']}`) since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _forget_in_child() -> None:
    """A forked child inherits open files: were they left open, it would hold the locks after its parent's end."""
    while _held:
        os.close(_held.popitem()[1].descriptor)


os.register_at_fork(after_in_child=_forget_in_child)
