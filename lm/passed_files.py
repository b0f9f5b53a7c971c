"""Reader of untrusted files: limits size and depth, then checks each field by its type.

Such a file is data. It cannot name code, a model or file to fetch, or an unchecked size: a field of type
``Annotated[..., InFiles(...)]`` is limited by its rule when it comes from a file, and may have any value of its type
when it comes from the command line or Python.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from lm.errors import CheckpointError, InvalidValueError
from lm.model_names import bundled_models
from lm.paths import user_path

MAX_BYTES = 16 * 2**20
"""Maximum size of a file of settings or results [bytes]."""
MAX_DEPTH = 64
"""Maximum nesting depth of lists and mappings."""

Record = TypeVar("Record")


@dataclass(frozen=True)
class InFiles:
    """Rule for a field's value from a file; a marker in ``Annotated``."""

    rule: str
    """Text of the rule, such as "must be a bundled model"."""
    allows: Callable[[Any], object]
    """Whether a value satisfies the rule; may raise InvalidValueError instead of returning False."""


BundledInFiles = Annotated[
    str, InFiles("must be a bundled model where a file names it", lambda value: value in bundled_models())
]
"""A language model: in files a bundled one; other models are given on the command line or in Python."""

NotInFiles = Annotated[str, InFiles("may not be chosen by a file", lambda value: False)]
"""A value that files may not set: paths, hub ids, ``module:attribute``."""

_TEXT_FILES = (".txt", ".jsonl", ".json", ".parquet", ".csv", ".gz")


def _is_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and not name.startswith("~")


def _is_known_text(name: str) -> bool:
    is_known = name == "roneneldan/TinyStories" or name.startswith("split:")
    return is_known or (_is_inside(name) and Path(name).suffix.lower() in _TEXT_FILES)


InsideInFiles = Annotated[str, InFiles("must lie in the present folder where a file names it", _is_inside)]
"""A path to write to: in files a relative one without ``..``."""

TextInFiles = Annotated[str, InFiles("must be a text file in the present folder where a file names it", _is_known_text)]
"""A source of text: in files a relative path with a suffix of text data, not a data set on the hub."""

UnsetInFiles = Annotated[bool, InFiles("may not be set by a file", lambda value: not value)]
"""A switch that only the command line may set."""


def one_of(*names: str) -> InFiles:
    """Rule: the value is one of several names."""
    return InFiles(f"must be one of {', '.join(names)} where a file names it", lambda value: value in names)


def read_text(path: str | Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Text of a file.

    Raises:
        CheckpointError: it is no regular file, is larger than `max_bytes`, or is not UTF-8.
    """
    path = user_path(path)
    try:
        if not path.is_file():  # a pipe or a device may never end
            raise CheckpointError(f"{path} cannot be read: it is no regular file.")
        size = path.stat().st_size
        if size > max_bytes:
            raise CheckpointError(f"{path} cannot be read: it has {size:,} bytes, and at most {max_bytes:,} are read.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} cannot be read: byte {error.start} is not UTF-8.") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error


def parse_json(text: str, source: str | Path) -> Any:
    """Content of a JSON text that stands in `source`.

    Raises:
        CheckpointError: it is not JSON, repeats a key, or is nested deeper than ``MAX_DEPTH``.
    """
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: without_repeated_keys(pairs))
        require_depth(content)
    except RecursionError as error:
        raise CheckpointError(f"{source} cannot be read: it is nested deeper than {MAX_DEPTH} levels.") from error
    except ValueError as error:
        raise CheckpointError(f"{source} cannot be read: {error}") from error
    return content


def read_json(path: str | Path) -> Any:
    """Content of a JSON file. Raises CheckpointError as :func:`read_text` and :func:`parse_json` do."""
    return parse_json(read_text(path), path)


def read_object(path: str | Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object. Raises CheckpointError where it holds something else."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} cannot be read: it holds no object.")
    return content


def read_lines(kind: type[Record], path: str | Path) -> list[Record]:
    """Instances of a dataclass, one a line of JSON; none if there is no file. A line cut short by a kill ends them.

    Raises:
        CheckpointError: the file is damaged; names the line.
    """
    records: list[Record] = []
    for number, line in enumerate(read_text(path).splitlines() if Path(path).exists() else [], start=1):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            break
        records.append(record_from(kind, content, f"{path}, line {number},"))
    return records


def record_from(kind: type[Record], content: object, source: str | Path) -> Record:
    """An instance of a dataclass from the plain data that `source` holds.

    Raises:
        CheckpointError: a field is unknown, missing, of another type, or breaks a rule.
    """
    try:
        return checked(kind, content)
    except InvalidValueError as error:
        raise CheckpointError(f"{source} is damaged: {error}") from error


def checked(annotation: Any, value: Any, name: str = "", *, is_whole: bool = True) -> Any:
    """Checks a value of plain data against an annotation and its rules for files.

    Args:
        annotation: a dataclass, or a type as its fields have them.
        value: of JSON or YAML.
        name: dotted name of the field, for messages.
        is_whole: dataclasses are built, and all of their fields without a default must be there; else the mapping is
            returned, and need only hold some of the fields.

    Raises:
        InvalidValueError: it is not; names the field, the rule and the value.
    """
    origin, parameters = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return value
    if origin is Annotated:
        found = checked(parameters[0], value, name, is_whole=is_whole)
        for rule in parameters[1:]:
            if isinstance(rule, InFiles) and not rule.allows(found):
                raise InvalidValueError(name, rule.rule, shown(value), "Give it on the command line or in Python.")
        return found
    if origin in (typing.Union, types.UnionType):
        return _one_of_types(parameters, value, name, is_whole)
    if origin is Literal:
        if not any(value == one and type(value) is type(one) for one in parameters):
            raise InvalidValueError(name, f"must be one of {', '.join(map(str, parameters))}", shown(value))
        return value
    if origin in (tuple, list):
        return _sequence(origin, parameters, value, name, is_whole)
    if origin in (dict, Mapping) or annotation in (dict, Mapping):
        _require_mapping(value, name)
        member = parameters[1] if parameters else Any
        return {key: checked(member, one, f"{name}.{key}", is_whole=is_whole) for key, one in value.items()}
    if dataclasses.is_dataclass(annotation):
        return _record(annotation, value, name, is_whole)
    return _scalar(annotation, value, name)


def _one_of_types(members: Iterable[Any], value: Any, name: str, is_whole: bool) -> Any:
    others = [member for member in members if member is not type(None)]
    if value is None and len(others) < len(list(members)):
        return None
    fitting = [member for member in others if _has_shape(member, value)] or others[:1]
    return checked(fitting[0], value, name, is_whole=is_whole)


def _has_shape(annotation: Any, value: Any) -> bool:
    """Whether a value can be meant for this member of a union."""
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    kind = typing.get_origin(annotation) or annotation
    if kind is Any:
        return True
    if kind in (tuple, list):
        return isinstance(value, (list, tuple))
    if kind in (dict, Mapping) or dataclasses.is_dataclass(kind):
        return isinstance(value, Mapping)
    if kind is Literal:
        return value in typing.get_args(annotation)
    return isinstance(value, (int, float) if kind is float else kind)


def _sequence(kind: Any, parameters: tuple[Any, ...], value: Any, name: str, is_whole: bool) -> Any:
    if not isinstance(value, (list, tuple)):
        raise InvalidValueError(name, "must be a list", shown(value))
    members = list(parameters)
    if kind is list or members[-1] is Ellipsis:
        members = members[:1] * len(value)
    if len(members) != len(value):
        raise InvalidValueError(name, f"must have {len(members)} entries", shown(value))
    pairs = enumerate(zip(members, value, strict=True))
    return kind(checked(member, one, f"{name}[{place}]", is_whole=is_whole) for place, (member, one) in pairs)


def _record(kind: Any, value: Any, name: str, is_whole: bool) -> Any:
    _require_mapping(value, name)
    hints = hints_of(kind)
    prefix = f"{name}." if name else ""
    for key in value:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else ""
            raise InvalidValueError(name or kind.__name__, "must hold fields that exist", shown(key), hint)
    fields = {
        key: checked(hints[key], one, f"{prefix}{key}", is_whole=is_whole) for key, one in value.items()
    }
    if not is_whole:
        return fields
    for field in dataclasses.fields(kind):
        is_required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if is_required and field.name not in fields:
            raise InvalidValueError(f"{prefix}{field.name}", "must be there", "nothing")
    return kind(**fields)


def _scalar(kind: Any, value: Any, name: str) -> Any:
    if kind is float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or abs(value) > 1e308 or math.isnan(value):
            raise InvalidValueError(name, "must be a finite number", shown(value))
        return float(value)
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
            raise InvalidValueError(name, "must be a whole number below 2^63", shown(value))
        return value
    words = {str: "text", bool: "true or false", type(None): "null"}
    if kind not in words:
        raise TypeError(f"No field of a file can have the type {kind}.")
    if not isinstance(value, kind):
        raise InvalidValueError(name, f"must be {words[kind]}", shown(value))
    return value


@functools.cache
def hints_of(kind: type) -> dict[str, Any]:
    """Types of a dataclass's fields by name, with their rules for files."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def shown(value: object) -> str:
    """A value as a message quotes it: escaped, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def without_repeated_keys(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping of pairs. Raises ValueError for a key that stands twice, of which one would be lost."""
    content: dict[Any, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {shown(key)} stands twice.")
        content[key] = value
    return content


def require_depth(content: Any, depth: int = 0) -> None:
    """Raises ValueError for content that is nested deeper than ``MAX_DEPTH``."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(content, (dict, list)):
        for member in content.values() if isinstance(content, dict) else content:
            require_depth(member, depth + 1)


def _require_mapping(value: Any, name: str) -> None:
    if not isinstance(value, Mapping):
        raise InvalidValueError(name or "content", "must be a mapping of names to values", shown(value))
    for key in value:
        if not isinstance(key, str):
            raise InvalidValueError(name or "content", "must have names as keys", shown(key))
