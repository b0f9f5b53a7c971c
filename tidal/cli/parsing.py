"""Command-line parsers made from configuration dataclasses by jsonargparse; field docstrings are the help."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import types
import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from lm.checks import require
from lm.errors import InvalidValueError, TidalGymError
from lm.passed_files import InsideInFiles, UnsetInFiles, checked, hints_of, shown
from tidal.cli.yaml_files import read_yaml, require_no_aliases

# A value that names a class is rejected without importing the class.
set_parsing_settings(
    docstring_parse_attribute_docstrings=True, import_path_denylist=["*"], instantiate_subclass_spec_in_any=False
)

Config = TypeVar("Config")


class CommandParser(ArgumentParser):
    """A jsonargparse parser that reads no files: files of ``--config`` and of sections are read and checked before.

    The types of options and their rules for files (:mod:`lm.passed_files`) limit the content of files.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.types: dict[str, Any] = {}
        """Types of options by name, with their rules for files."""
        super().__init__(*arguments, **options)

    def add_option(self, *names: str, **options: Any) -> Any:
        """Adds an option, as `add_argument`; the type may have rules for files, which the help does not show."""
        kind = options.get("type", bool if options.get("action") == "store_true" else None)
        if kind is not None and "." not in names[0]:
            many = list[kind] if options.get("nargs") not in (None, "?") else kind  # type: ignore[valid-type]
            default = options.get("default", False if kind is bool else None)
            self.types[names[0].lstrip("-")] = many | None if default is None else many
        if "type" in options:
            options["type"] = _without_rules(kind)
            _prepare(options["type"])
        return self.add_argument(*names, **options)

    def add_options_of(self, kind: type) -> None:
        """Adds the fields of a dataclass as options."""
        _prepare(kind)
        self.add_class_arguments(kind)
        self.types |= hints_of(kind)

    def parse_args(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Namespace:  # type: ignore[override]
        """Parses options. Raises ArgumentError, or InvalidValueError for invalid content of a file."""
        arguments, parser, read = list(args or ()), self, []
        for name, argument in zip(["argument", *arguments], arguments, strict=False):
            option, _, value = argument.partition("=")
            require_no_aliases(name.lstrip("-"), argument)
            require_no_aliases(option.lstrip("-"), value)
        while arguments:
            argument = arguments.pop(0)
            parser = parser.subcommands().get(argument, parser)
            option, equals, value = argument.partition("=")
            if parser.is_file_option(option) and (equals or arguments):
                argument = f"{option}={parser.content_of(option[2:], value if equals else arguments.pop(0))}"
            read.append(argument)
        found = super().parse_args(read, *others, **options)
        subcommand = found.get("subcommand") or found.get("action")
        output = (found[subcommand] if subcommand else found).get("output")
        require("output", "must name a file or a folder", output, output != "")
        return found

    def subcommands(self) -> dict[str, CommandParser]:
        """Parsers of the subcommands, by name."""
        return next((dict(action.choices) for action in self._actions if isinstance(action.choices, dict)), {})

    def options(self) -> tuple[str, ...]:
        """Names of the options and positional arguments, as they are written."""
        return tuple(name for action in self._actions for name in action.option_strings or (action.dest,))

    def is_file_option(self, option: str) -> bool:
        """Whether the option's value may be a file of options."""
        return option.startswith("--") and (option == "--config" or self._section(option[2:]) is not None)

    def content_of(self, option: str, value: str) -> str:
        """JSON of the file that the option's value names; the value itself if it names no file."""
        if option == "config" and not value.lstrip().startswith("{"):
            return json.dumps(self.checked_options(read_yaml(value), Path(value)), ensure_ascii=False)
        if option == "config" or not os.path.isfile(value):  # Path raises where a value is too long for a name
            return value
        return json.dumps(_checked_section(self._section(option), Path(value), option), ensure_ascii=False)

    def checked_options(self, content: dict[str, Any], path: Path) -> dict[str, Any]:
        """Options read from a file, including files that its sections name.

        Raises:
            InvalidValueError: an option is unknown, has a wrong type, or may not be set by a file.
        """
        options: dict[str, Any] = {}
        subcommands = self.subcommands()
        for name, value in content.items():
            if name in subcommands and isinstance(value, dict):
                options[name] = subcommands[name].checked_options(value, path)
            elif subcommands and name in ("subcommand", "action"):
                options[name] = checked(str, value, name)
            elif name not in self.types:
                near = difflib.get_close_matches(str(name), self.types, n=1)
                hint = f"Did you mean `{near[0]}`?" if near else ""
                raise InvalidValueError("config", f"must hold options of `{self.prog}` only", shown(name), hint)
            elif isinstance(value, str) and (section := self._section(name)) is not None:
                options[name] = _checked_section(section, path.parent / value, name)
            else:
                options[name] = checked(self.types[name], value, name, is_whole=False)
        return options

    def _section(self, name: str) -> Any:
        """The dataclass of a section's options; None if there is no such section."""
        first, *others = name.split(".")
        section = _dataclass_in(self.types.get(first))
        for part in others:
            section = _dataclass_in(hints_of(section).get(part)) if section is not None else None
        return section


def _checked_section(section: Any, path: Path, name: str) -> Any:
    return checked(section, read_yaml(path), name, is_whole=False)


def _dataclass_in(annotation: Any) -> Any:
    """The dataclass in an annotation, optional or not; None if there is none."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated):
        return next(filter(None, map(_dataclass_in, typing.get_args(annotation))), None)
    return None


def _without_rules(annotation: Any) -> Any:
    """The type without its rules for files."""
    if typing.get_origin(annotation) is Annotated:
        return typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_without_rules, typing.get_args(annotation)))]  # noqa: UP007 - built at run time
    return annotation


def _prepare(annotation: Any) -> None:
    """Prepare the dataclasses in an annotation for jsonargparse, which imports them by name."""
    kind = _dataclass_in(annotation)
    if kind is not None:
        parts = kind.__module__.split(".")  # shortest import path: a package may re-export the class
        packages = (".".join(parts[: end + 1]) for end in range(len(parts)))
        set_parsing_settings(import_path_allowlist=[f"{package}.{kind.__qualname__}" for package in packages])
        # To resolve annotations that are text, jsonargparse would run the imports under TYPE_CHECKING, such as torch's.
        kind.__init__.__annotations__ |= typing.get_type_hints(kind)
        for hint in hints_of(kind).values():
            _prepare(hint)


def new_parser(command: str, description: str) -> CommandParser:
    """A command's parser with ``--config`` and ``--print_config``. It raises ArgumentError for invalid arguments."""
    parser = CommandParser(prog=f"tidal {command}", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument(
        "--config", action="config", help="YAML file with any of these options; later options override it."
    )
    return parser


def add_run_folder(parser: CommandParser) -> None:
    """Adds ``--output``, ``--resume`` and ``--overwrite`` of a training command."""
    parser.add_option("--output", type=InsideInFiles, required=True, help="Folder of the run.")
    parser.add_option(
        "--resume", action="store_true", help="Continue the run in the folder from its last checkpoint."
    )
    add_overwrite(parser, "Replace the run in the folder.")
    parser.add_option("--max_minutes", type=float | None, default=None,
        help="Time after which the run ends as completed, with what it has learned or found by then [minutes], "
        "above 0.")  # fmt: skip


def add_overwrite(parser: CommandParser, help: str) -> None:
    """Adds ``--overwrite``, which files may not set."""
    parser.add_option("--overwrite", action="store_true", help=f"{help} A link is followed: what it names is replaced.")
    parser.types["overwrite"] = UnsetInFiles


def instantiated(parser: ArgumentParser, options: Namespace) -> Any:
    """The options with dataclasses instantiated.

    Raises:
        InvalidValueError: a value violates a dataclass's rule.
        ArgumentError: a section holds no options, or an optional section violates a rule.
    """
    try:
        return parser.instantiate(options)
    except TidalGymError:
        raise
    except TypeError as error:
        if "must be a mapping" not in str(error):  # an internal error
            raise
        rule = "A section of the configuration must hold options; one that is empty has to be left out."
        raise ArgumentError(None, rule) from error
    except ValueError as error:  # jsonargparse's error, which quotes ours for an optional section
        raise ArgumentError(None, str(error)) from error


def config_of(parser: ArgumentParser, options: Namespace, kind: type[Config]) -> Config:
    """A configuration dataclass from the parsed options of its fields.

    Raises:
        InvalidValueError: a value violates a rule of the dataclass.
    """
    made = instantiated(parser, options)
    return kind(**{field.name: made[field.name] for field in fields(kind)})  # type: ignore[arg-type]
