"""One attempt in a process of its own, forked from one that has the libraries loaded: what became of it.

Nothing that an attempt does to the process, its threads or its memory reaches the next one, and one that never ends
is killed.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = 12 * 2**30
"""Address space that an attempt may have [bytes]; what asks for more gets a MemoryError."""

KINDS = ("right", "clear", "accepted", "traceback", "hang")
"""Right results of right input; refusals in a sentence; wrong input that was taken; all else that it can end in."""


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt."""

    how: str
    """"returned", "refused" (an error of the project, or an exit code), "traceback" or "hang"."""
    text: str
    """The result, the refusal, or the traceback."""
    left: tuple[str, ...] = ()
    """Files and folders that it left in its working folder, which was empty."""


def attempt(
    call: Callable[[], Any], *, seconds: float = 60.0, prepare: Callable[[Path], None] | None = None
) -> Outcome:
    """Call in an empty working folder, which `prepare` may fill, and say what became of it.

    Args:
        call: returns a text, or raises. A ``TidalGymError`` and a ``Refused`` are refusals.
        seconds: after which it counts as a hang.
        prepare: is given the working folder before the call.
    """
    with tempfile.TemporaryDirectory(prefix="tidal-fuzz-") as name:
        folder, report = Path(name, "work"), Path(name, "report")
        folder.mkdir()
        if prepare is not None:
            prepare(folder)
        before = _names(folder)
        child = os.fork()
        if child == 0:
            _run(call, folder, report)
        if not _ends(child, seconds):
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Outcome("hang", _tail(Path(name, "report.err")))
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != 0 or not report.exists():
            return Outcome("traceback", f"exit {os.waitstatus_to_exitcode(status)}: {_tail(Path(name, 'report.err'))}")
        how, _, text = report.read_text(encoding="utf-8", errors="replace").partition("\n")
        return Outcome(how, text, tuple(sorted(_names(folder) - before)))


class Refused(Exception):
    """A command line was refused; holds what standard error said."""


def _run(call: Callable[[], Any], folder: Path, report: Path) -> None:
    """In the child: never returns."""
    try:
        os.setsid()
        os.chdir(folder)
        for stream, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(f"{report}{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        faulthandler.enable(sys.stderr)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        from lm.errors import TidalGymError

        try:
            result = f"returned\n{call()}"
        except (TidalGymError, Refused) as error:
            result = f"refused\n{error}"
        except BaseException:
            result = f"traceback\n{traceback.format_exc()}"
        report.write_text(result, encoding="utf-8", errors="replace")
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _ends(child: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(child)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-2000:] if path.exists() else ""
