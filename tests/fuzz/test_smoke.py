"""A few of the cases of `make fuzz`, and that its harness tells the kinds of ends apart."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lm.errors import InvalidValueError
from tests.fuzz.attempt import attempt
from tests.fuzz.command_lines import bad_lines, parsers, try_line
from tests.fuzz.legal_calls import legal_calls


def refuse() -> None:
    raise InvalidValueError("x", "must be right", "wrong")


def test_every_end_is_told_apart() -> None:
    assert attempt(lambda: "fine").how == "returned"
    assert attempt(refuse).how == "refused"
    assert attempt(lambda: 1 / 0).how == "traceback"
    assert attempt(lambda: os.abort()).how == "traceback"
    assert attempt(lambda: time.sleep(60), seconds=0.2).how == "hang"
    assert attempt(lambda: Path("left").mkdir()).left == ("left",)


def test_every_command_has_a_right_call(tmp_path: Path) -> None:
    assert legal_calls(tmp_path).keys() == parsers().keys()


def test_some_bad_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    parsers()  # imports what the attempts need, once
    for line in bad_lines(tmp_path, values_each=1, seed=0)[:20]:
        kind, seen = try_line(line, seconds=120)
        assert kind == "clear", (line.why, seen)
