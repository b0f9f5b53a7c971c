"""The parts of the fuzzing: cases, and how one is tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz import api_calls, command_lines, damaged_files

Part = tuple[Sequence[Any], Callable[[Any], tuple[str, str]]]


def lines(materials: Path, seed: int) -> Part:
    """Bad command lines."""
    return command_lines.bad_lines(materials, values_each=2, seed=seed), lambda line: command_lines.try_line(line, 30)


def calls(materials: Path, seed: int) -> Part:
    """Bad calls from Python."""
    return api_calls.bad_calls(materials, values_each=3, seed=seed), lambda call: api_calls.try_call(call, 40)


def files(materials: Path, seed: int) -> Part:
    """Damaged files."""
    reader = damaged_files.Reader(materials, 60)
    return damaged_files.damages(materials, share=1.0, seed=seed), reader.try_damage


PARTS: dict[str, Callable[[Path, int], Part]] = {"lines": lines, "calls": calls, "files": files}
