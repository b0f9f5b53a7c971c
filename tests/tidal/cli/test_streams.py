"""What reaches standard output and standard error that are no terminal: every character, tab and column."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.table import Table

from tidal.cli.console import errors, output, print_text
from tidal.cli.main import COMMANDS, main


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("name", [*COMMANDS, "carl phi", "carl train", "rlm sweep"])
def test_help_is_printed_in_any_encoding(name, encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert main([*name.split(), "--help"]) == 0
    sys.stdout.flush()
    assert b"usage: tidal" in written.getvalue()


def test_errors_are_printed_in_any_encoding(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding="latin-1"))
    assert main(["generate", "x", "--controller", "β"]) == 2
    sys.stderr.flush()
    assert "?" in written.getvalue().decode("latin-1")


def test_tabs_stay_tabs_and_tables_keep_their_columns(capsys):
    print_text("a\tb\n", style="dim")
    table = Table()
    for column in range(60):
        table.add_column(f"column{column}")
    table.add_row(*("x" * 20 for _ in range(60)))
    output.print(table)
    errors.print(table)
    captured = capsys.readouterr()
    assert captured.out.startswith("a\tb\n")
    for text in (captured.out, captured.err):
        assert "column59" in text
        assert text.count("x" * 20) == 60


@pytest.mark.parametrize("arguments", [["--help"], ["carl", "constants"]])
def test_a_reader_that_has_ended_is_no_error(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "tidal", *arguments]
    finished = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert finished.returncode != 0 and finished.stderr == ""


def test_warnings_are_one_line(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": null}\n{"text": "A day."}\n', encoding="utf-8")
    command = [sys.executable, "-m", "tidal", "score", "--file", "rows.jsonl"]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert ended.stderr == "Warning: 1 row with null is skipped, the last text being in line 2 of rows.jsonl.\n"
