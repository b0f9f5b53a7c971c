"""Bad command lines: every option of every command, as its own parser tells them, with values that break its rule.

Oracle: each line is bad by construction (:mod:`tests.fuzz.bad_values`), and is to be refused with an exit code other
than 0, in one line on standard error, without leaving a file or a folder behind.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from tests.fuzz.attempt import Outcome, Refused, attempt
from tests.fuzz.bad_values import bad_values, drawn
from tests.fuzz.legal_calls import legal_calls
from tidal.cli.main import COMMANDS, main

NEW_FOLDERS = {"output"}
"""Options that name what is to be written."""
UNREAD = {
    ("evaluate", "env.prompts"),
    ("analyze", "env.prompts"),
    ("demo", "steps"),
    ("demo", "settings"),
    ("demo", "episodes"),
    ("demo", "oracle_episodes"),
    ("demo", "oracle_levels"),
    ("evaluate", "judge"),
    ("evaluate", "human"),
    ("benchmark", "text.human"),
    ("benchmark", "text.judge"),
    ("benchmark", "training.env.prompts"),
}
"""Options that another one of the right call replaces or leaves unread."""
UNDOCUMENTED = {"config", "print_config", "help"}


@dataclass(frozen=True)
class BadLine:
    """A command line that is to be refused."""

    words: tuple[str, ...]
    """After `tidal`."""
    why: str
    """What is wrong with it."""
    files: tuple[tuple[str, bytes], ...] = ()
    """Files in the working folder, by name."""


def parsers() -> dict[tuple[str, ...], ArgumentParser]:
    """Every command's parser, and in place of a command with subcommands those of its subcommands."""
    found: dict[tuple[str, ...], ArgumentParser] = {}
    for name in COMMANDS:
        parser = import_module(f"tidal.cli.commands.{name}").make_parser()
        children = [action for action in parser._actions if hasattr(action, "_name_parser_map")]
        if children:
            found |= {(name, child): kind for child, kind in children[0]._name_parser_map.items()}
        else:
            found[name,] = parser
    return found


def bad_lines(materials: Path, *, values_each: int, seed: int) -> list[BadLine]:
    """Bad command lines, so many for each option of each command, and the general mistakes for each command."""
    calls, lines = legal_calls(materials), []
    for command, parser in parsers().items():
        legal = calls[command]
        options = list(_options(parser))
        lines += _general_mistakes(command, legal, options, materials)
        for number, (name, annotation, documentation, positional, nargs) in enumerate(options):
            strategy = bad_values(annotation, documentation, name)
            if strategy is None or name in NEW_FOLDERS:
                continue
            if (*command, name) in UNREAD:
                continue
            for value in drawn(strategy, values_each, seed + number):
                if (line := _with_value(command, legal, name, value, positional, nargs)) is not None:
                    lines.append(line)
    random.Random(seed).shuffle(lines)
    return [line for line in lines if not any("\x00" in word for word in line.words)]


def try_line(line: BadLine, seconds: float) -> tuple[str, str]:
    """One of ``attempt.KINDS``, and what was seen."""
    outcome = attempt(lambda: run(line.words), seconds=seconds, prepare=lambda folder: _write(folder, line.files))
    return judged(outcome)


def judged(outcome: Outcome) -> tuple[str, str]:
    """One of ``attempt.KINDS`` for what should have been refused."""
    if outcome.how == "refused":
        if outcome.left:
            return "accepted", f"It was refused after it had written {', '.join(outcome.left)}: {outcome.text}"
        return "clear", outcome.text
    return ("accepted" if outcome.how == "returned" else outcome.how), outcome.text


def run(words: tuple[str, ...] | list[str]) -> str:
    """Standard output of the command line.

    Raises:
        Refused: it ended with another exit code than 0 and one sentence; any other end is an AssertionError.
    """
    code = main(list(words))
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = (Path(f"../report.{stream}").read_text(encoding="utf-8", errors="replace") for stream in ("out", "err"))
    assert "Traceback (most recent call last)" not in err, err
    if code == 0:
        return out
    assert "Error: " in err, f"exit code {code} without a word: {err!r}"
    assert "\x1b" not in err, f"control characters reach the terminal: {err!r}"
    raise Refused(err[err.index("Error: ") :].strip())


def _options(parser: ArgumentParser) -> Iterator[tuple[str, Any, str, bool, Any]]:
    """Name, annotation, documentation, whether it is positional, and number of words."""
    for action in parser._actions:
        if action.dest in UNDOCUMENTED or hasattr(action, "_name_parser_map"):
            continue
        annotation = getattr(action, "_typehint", None) or action.type
        if "_StoreTrue" in type(action).__name__ or annotation is None or not (action.help or "").strip():
            continue
        yield action.dest, annotation, action.help or "", not action.option_strings, action.nargs


def _with_value(
    command: tuple[str, ...], legal: list[str], name: str, value: Any, positional: bool, nargs: Any
) -> BadLine | None:
    """The right call with a bad value, on the command line or, where a line cannot tell its type, in a YAML file.

    None where neither can: every word is a text.
    """
    is_text = isinstance(value, str)
    written = value if is_text else json.dumps(value)
    why = f"{' '.join(command)} {name} = {value!r}"
    if positional:
        return BadLine((*command, written, *_without_positional(legal)), why) if is_text or "phi" in name else None
    rest = _without(legal, f"--{name}")
    if name.endswith("env.model"):  # which --model would go before
        rest = _without(rest, "--model")
    if isinstance(nargs, int) and nargs > 1:
        return BadLine((*command, *rest, f"--{name}", *(written,) * nargs), why)
    if is_text:
        # `--name value`: a text that begins with a dash is an option to the parser.
        return BadLine((*command, *rest, f"--{name}={written}"), why)
    content: Any = value
    for key in reversed(name.split(".")):
        content = {key: content}
    return BadLine(
        (*command, "--config", "bad.yaml", *rest), f"{why} in a file", (("bad.yaml", yaml.safe_dump(content).encode()),)
    )


def _without(legal: list[str], option: str) -> list[str]:
    """The call without an option and its value."""
    if option not in legal:
        return list(legal)
    at = legal.index(option)
    return [*legal[:at], *legal[at + 2 :]]


def _without_positional(legal: list[str]) -> list[str]:
    return legal[1:] if legal and not legal[0].startswith("-") else list(legal)


def _general_mistakes(
    command: tuple[str, ...], legal: list[str], options: list[Any], materials: Path
) -> Iterator[BadLine]:
    name = " ".join(command)
    yield BadLine((*command, *legal, "--no_such_option", "1"), f"{name}: unknown option")
    yield BadLine((*command, *legal, "surplus", "words", "here"), f"{name}: surplus words")
    for content, why in BAD_FILES.items():
        yield BadLine((*command, "--config", "bad.yaml", *legal), f"{name}: {why}", (("bad.yaml", content),))
    yield BadLine((*command, "--config", "nowhere.yaml", *legal), f"{name}: no such configuration")
    yield BadLine((*command, "--config", ".", *legal), f"{name}: a folder for a configuration")
    for option, *_ in options[:: max(1, len(options) // 3)]:
        yield BadLine((*command, *legal, f"--{option}x", "1"), f"{name}: misspelt --{option}")
        if legal and f"--{option}" in legal:
            yield BadLine(
                (*command, *_without(legal, f"--{option}"), f"--{option}"), f"{name}: --{option} without value"
            )
    if "--output" in legal:
        rest = _without(legal, "--output")
        yield BadLine((*command, *rest, "--output", ""), f"{name}: empty output")
        if command != ("demo",):
            yield (
                BadLine((*command, *rest), f"{name}: no output")
                if command != ("statistics",)
                else BadLine((*command, "--model", str(materials / "model")), "statistics without data")
            )
        full = (("full/notes.txt", b"mine"),)
        if command == ("statistics",):
            yield BadLine((*command, *rest, "--output", "full/notes.txt"), f"{name}: a file that exists", full)
            return
        yield BadLine((*command, *rest, "--output", "full"), f"{name}: somebody's folder", full)
        yield BadLine((*command, *rest, "--output", "full", "--overwrite"), f"{name}: overwrite somebody's", full)
        yield BadLine((*command, *rest, "--output", "full/notes.txt"), f"{name}: a file for a folder", full)
        yield BadLine((*command, *rest, "--output", "full/notes.txt/x"), f"{name}: a file on the way", full)
        if any(option == "resume" for option, *_ in options) or command[0] in (
            "train",
            "tune",
            "pretrain",
            "rlm",
            "benchmark",
        ):
            yield BadLine((*command, *legal, "--resume", "--overwrite"), f"{name}: resume and overwrite")
            yield BadLine((*command, *rest, "--output", "nowhere", "--resume"), f"{name}: resume what is not there")


BAD_FILES = {
    b"no_such_key: 1\n": "unknown key",
    b"[1, 2": "broken YAML",
    b"- a\n- b\n": "a list",
    b"\xff\xfe\x00bad": "no UTF-8",
    b"seed: 1\nseed: 2\n": "a key twice",
    b"text\n": "a scalar",
    b"env:\n  class_path: evilmod.X\n": "a class path",
    b"a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\n"
    + b"".join(
        b"%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n" % ((99 + n, 99 + n) + (98 + n,) * 8) for n in range(12)
    ): "an alias bomb",
    b"!!python/object/apply:os.system ['true']\n": "a tag that names code",
    b"a: " + b"[" * 3000 + b"\n": "deeply nested",
}


def _write(folder: Path, files: tuple[tuple[str, bytes], ...]) -> None:
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
