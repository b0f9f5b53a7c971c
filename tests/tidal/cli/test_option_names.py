"""Messages name the option that was given, as it is written: every option of every command gets values that no option
of its type may have. Nothing is written before that."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tidal.cli.main import COMMANDS, main
from tidal.cli.parsing import CommandParser

REQUIRED = {
    "train": ["--output", "run"],
    "tune": ["--output", "run"],
    "pretrain": ["--output", "run"],
    "rlm train": ["--output", "run"],
    "rlm sweep": ["--output", "run"],
    "carl train": ["--output", "run"],
    "carl agent": ["why"],
    "carl phi": ["logits.npy"],
    "carl reward": ["logits.npy"],
    "carl gate-check": ["0.5"],
    "evaluate": ["--agent", "neutral"],
    "analyze": ["--agent", "neutral", "--output", "page.html"],
    "statistics": ["--model", "tidal-tiny", "--data", "text.txt", "--output", "statistics.safetensors"],
    "generate": ["Once"],
    "score": ["text"],
    "benchmark": ["--output", "run"],
    "demo": ["--output", "run"],
}


def values_out_of_range(kind: Any) -> list[str]:
    text = str(kind)
    if "tuple[int" in text:
        return ["x", "[1.5, 2, 3]"]
    if "tuple[float" in text:
        return ["x", "[none]"]
    if "dict" in text or "Config" in text:
        return ["3"]
    if "Literal" in text:
        return ["zzz"]
    if "int" in text:
        return ["-5000000"]
    if "float" in text:
        return ["1e300"]
    if "bool" in text:
        return ["3"]
    return []


def parsers_of(parser: CommandParser, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], CommandParser]]:
    subcommands = parser.subcommands()
    for name, one in subcommands.items():
        yield from parsers_of(one, (*words, name))
    if not subcommands:
        yield words, parser


@pytest.mark.parametrize("command", COMMANDS)
def test_a_message_names_the_option(command: str, tmp_path: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    tried = 0
    for words, parser in parsers_of(import_module(f"tidal.cli.commands.{command}").make_parser(), (command,)):
        for action in parser._actions:
            kind = getattr(action, "_typehint", None) or action.type
            for value in values_out_of_range(kind) if action.option_strings and action.nargs != 0 else ():
                option = action.option_strings[-1]
                given = [option, *[value] * action.nargs] if isinstance(action.nargs, int) else [f"{option}={value}"]
                assert main([*words, *REQUIRED.get(" ".join(words), ()), *given]) == 2, given
                message = " ".join(capsys.readouterr().err.split())
                assert option.lstrip("-") in message and "Traceback" not in message, (given, message)
                assert list(tmp_path.iterdir()) == [], given
                tried += 1
    assert tried > 0 or command == "runs"  # which has no numbers
