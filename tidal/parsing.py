"""Command-line parsers: jsonargparse over the configuration dataclasses, whose field docstrings are the help."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from lm.errors import TidalGymError

set_parsing_settings(docstring_parse_attribute_docstrings=True)

Config = TypeVar("Config")


def new_parser(command: str, description: str) -> ArgumentParser:
    """A parser for a command, with ``--config`` and ``--print_config``. It raises ArgumentError for what it rejects."""
    parser = ArgumentParser(prog=f"tidal {command}", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument(
        "--config", action="config", help="YAML file with any of these options; later ones override it."
    )
    return parser


def add_run_folder(parser: ArgumentParser) -> None:
    """``--output``, ``--resume`` and ``--overwrite`` of a command that trains."""
    parser.add_argument("--output", type=str, required=True, help="Folder of the run.")
    parser.add_argument(
        "--resume", action="store_true", help="Continue the run in the folder from its last checkpoint."
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace the run in the folder.")


def instantiated(parser: ArgumentParser, options: Namespace) -> Any:
    """The options with dataclasses in place of what was written for them.

    Raises:
        InvalidValueError: a value breaks a dataclass's rule.
        ArgumentError: a section holds no options, or an optional part breaks its rule.
    """
    try:
        return parser.instantiate(options)
    except TidalGymError:
        raise
    except TypeError as error:
        if "must be a mapping" not in str(error):  # a mistake of ours
            raise
        rule = "A section of the configuration must hold options; one that is empty has to be left out."
        raise ArgumentError(None, rule) from error
    except ValueError as error:  # jsonargparse's own, which quotes ours where a part is optional
        raise ArgumentError(None, str(error)) from error


def config_of(parser: ArgumentParser, options: Namespace, kind: type[Config]) -> Config:
    """The dataclass whose fields are options of the parser.

    Raises:
        InvalidValueError: a value breaks the dataclass's rule.
    """
    made = instantiated(parser, options)
    return kind(**{field.name: made[field.name] for field in fields(kind)})  # type: ignore[arg-type]
