"""The `tidal` command: runs the requested command; errors become one line and an exit code.

Only the requested command's module is imported, so that ``tidal --help`` does not import torch.
"""

from __future__ import annotations

import difflib
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentError

from lm.errors import InvalidValueError, TidalGymError
from tidal.cli.console import errors, replace_unencodable

COMMANDS = {
    "demo": "Train a controller, compare it with the baselines, write a report",
    "generate": "Continue a text: by plain sampling, with fixed gates, or with a controller",
    "train": "Train a controller of the gates",
    "tune": "Tune decoding methods with equal budgets",
    "evaluate": "Compare controllers and baselines on the same held-out episodes",
    "benchmark": "Compare learned controllers with every tuned baseline and the oracle",
    "analyze": "Analyse how a controller uses the gates, token by token",
    "score": "Compute loss, perplexity and bits per byte of a text",
    "pretrain": "Train a language model",
    "carl": "Coherence rewards: scores, gates, training, an agent that abstains",
    "runs": "List, show and clean up run folders",
    "rlm": "Train language models on random grammars, for which the optimal model is known",
    "statistics": "Measure the reference statistics of a model that the environment needs",
}

RESUMABLE = ("train", "tune", "benchmark", "pretrain", "rlm")

EXIT_FAILED, EXIT_MISUSED, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `arguments` exclude the program's name."""
    replace_unencodable()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        _print_help()
        return 0 if arguments else EXIT_MISUSED
    if arguments[0] == "--version":
        from lm.runs.provenance import version_of

        print(f"tidal-gym {version_of('tidal-gym')}")
        return 0
    name, rest = arguments[0], _with_underscores(arguments[1:])
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        return _fail(
            f"There is no command '{name}'. {f'Did you mean `{near[0]}`? ' if near else ''}See `tidal --help`."
        )
    try:
        command = import_module(f"tidal.cli.commands.{name}")
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return command.run(rest)
    except ArgumentError as error:
        return _fail(f"{_in_plain_words(error)} See `tidal {name} --help`.")
    except InvalidValueError as error:
        return _fail(str(_naming_the_option(error, command.make_parser(), rest)))
    except TidalGymError as error:
        return _fail(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:  # for example a full disk or a read-only folder
        return _fail(str(error), EXIT_FAILED)
    except MemoryError as error:
        return _fail(f"Out of memory: {error}", EXIT_FAILED)
    except SystemExit as stop:  # --help and --print_config end the parsing this way
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return _fail(_interrupted(name, arguments), EXIT_INTERRUPTED, "Interrupted.")


def _print_help() -> None:
    print("usage: tidal COMMAND [options]\n\nDecoding a language model as a control problem.\n")
    width = max(map(len, COMMANDS))
    for name, purpose in COMMANDS.items():
        print(f"  {name:<{width}}  {purpose}")
    print("\n`tidal COMMAND --help` lists a command's options and their defaults, `tidal --version` the version.")


def _fail(message: str, code: int = EXIT_MISUSED, label: str = "Error:") -> int:
    errors.print(label, style="bold red", end=" ")
    errors.print(message, soft_wrap=True)
    return code


def _show_warning(message: Warning | str, *where: object, **options: object) -> None:
    errors.print("Warning:", style="bold yellow", end=" ")
    errors.print(str(message), soft_wrap=True)


def _in_plain_words(error: ArgumentError) -> str:
    """The parser's error as a sentence, without names of Python types."""
    text = " ".join(str(error).split())
    for pattern, words in (
        (r'Parser key "([^"]+)":', r"`\1`:"),
        (r"Expected a typing\.Literal\[(.*?)\]", r"Expected one of \1"),
        (r"Expected a <class '(tuple|list)'>", "Expected a list such as '[a, b]'"),
        # For an optional section, keep only the error of the type other than None.
        (r"Does not validate against any of the Union subtypes Subtypes: \[.*?\] Errors: - ", ""),
        (r"Problem with given class_path '[^']*': ", ""),
        (r" - Expected a <class 'NoneType'>.*$", ""),
    ):
        text = re.sub(pattern, words, text)
    return text if text.endswith(".") else f"{text}."


def _naming_the_option(error: InvalidValueError, parser: Any, arguments: Sequence[str]) -> InvalidValueError:
    """The error with the option's full dotted name in place of its last part."""
    for argument in arguments:
        parser = parser.subcommands().get(argument, parser)
    parameter = error.arguments[0]
    given = [argument.partition("=")[0] for argument in arguments]
    for options in (given, parser.options()):
        names = {name.lstrip("-") for name in options if f".{name.lstrip('-')}".endswith(f".{parameter}")}
        if names:
            return error.named(names.pop()) if len(names) == 1 else error
    return error


def _interrupted(name: str, arguments: Sequence[str]) -> str:
    if name not in RESUMABLE and arguments[:2] != ["carl", "train"]:
        return "Files written so far are kept."
    again = [argument for argument in arguments if argument not in ("--resume", "--overwrite")]
    return f"Continue from the last checkpoint with: {shlex.join(['tidal', *again, '--resume'])}"


def _with_underscores(arguments: Sequence[str]) -> list[str]:
    """Replaces dashes in option names: --max-tokens is --max_tokens."""
    spelled = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option.startswith("--") and " " not in option:
            argument = "--" + option[2:].replace("-", "_") + equals + value
        spelled.append(argument)
    return spelled
