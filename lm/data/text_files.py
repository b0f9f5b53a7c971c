"""Reads and validates text and rows; errors name file and line."""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from lm.errors import InvalidValueError
from lm.paths import user_path

TEXT_SUFFIXES = (".txt", ".txt.gz")
ROW_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
FORMATS = "a .txt, .jsonl or .json file (each also as .gz) or a .parquet file"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """One row of a file or dataset."""

    place: str
    """File and line or row, for messages."""
    content: Any
    """Content of the row; a mapping by column in a valid file."""


def format_of(source: str | Path, parameter: str) -> str | None:
    """Lower-case suffix of a file of text or rows; None for a possible dataset id on the hub.

    Raises:
        InvalidValueError: the file does not exist, or its format is not supported.
    """
    path = user_path(source)
    suffix = "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    is_known = suffix in TEXT_SUFFIXES + ROW_SUFFIXES
    if is_known and not os.path.isfile(path):
        raise InvalidValueError(parameter, "must be an existing file", source)
    if is_known:
        return suffix
    name = str(source)
    if not name or "\0" in name or os.path.exists(path) or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        existing = "another kind of file" if os.path.exists(path) else "there is no such file"
        held = "a folder" if os.path.isdir(path) else existing
        rule = f"must be {FORMATS}, or a dataset id on the hub"
        raise InvalidValueError(parameter, rule, f"{name!r} ({held})")
    return None


def read_text(path: str | Path, parameter: str) -> str:
    """Text of a UTF-8 file, without a byte order mark; ``.gz`` is decompressed.

    Raises:
        InvalidValueError: the file cannot be read, or is not UTF-8 text; names the line.
    """
    with _opened(path, parameter) as file:
        raw = file.read()
    return _decoded(raw, str(path), parameter)


def standard_input(parameter: str) -> str:
    """All of standard input, without a byte order mark.

    Raises:
        InvalidValueError: the input is not text in the terminal's encoding.
    """
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError as error:
        rule = f"must be {error.encoding} text on standard input"
        raise InvalidValueError(parameter, rule, f"{error.object[error.start : error.start + 1]!r}") from error
    return require_text(text.removeprefix("\ufeff"), parameter, "standard input")


def lines_of(text: str) -> list[str]:
    """Lines of a text, split at ``\\n`` and ``\\r\\n`` only, without line breaks."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def require_text(value: object, parameter: str, where: str = "") -> str:
    """Returns a value that is a string without lone surrogates.

    Args:
        value: value to check.
        parameter: its name in messages.
        where: file and line, or entry; "" if the parameter itself is the text.

    Raises:
        InvalidValueError: the value is no string, or contains a lone surrogate.
    """
    where = where and f" in {where}"
    if not isinstance(value, str):
        raise InvalidValueError(parameter, "must be text", f"{_shown(value)}{where}")
    if (found := re.search("[\ud800-\udfff]", value)) is not None:
        surrogate = f"the lone surrogate \\u{ord(found[0]):04x} as character {found.start() + 1}"
        raise InvalidValueError(parameter, "must be valid Unicode", f"{surrogate}{where}")
    return value


def rows_of(source: str | Path, split: str, parameter: str) -> Iterator[Row]:
    """Rows of a file in one of the formats ``ROW_SUFFIXES``, or of a split of a dataset on the hub.

    Raises:
        InvalidValueError: the source cannot be read or loaded, or a line is not JSON; names the line.
    """
    suffix = format_of(source, parameter)
    if suffix is None:
        return _hub_rows(str(source), split, parameter)
    if suffix == ".parquet":
        return _parquet_rows(source, parameter)
    return _json_rows(source, parameter, may_be_array=suffix in (".json", ".json.gz"))


def texts_of(rows: Iterable[Row], text_field: str, parameters: tuple[str, str]) -> Iterator[str]:
    """Text of each row; skips rows with null, with a warning.

    Args:
        rows: rows of a file or dataset.
        text_field: column with the text.
        parameters: names of source and column, for messages.

    Raises:
        InvalidValueError: a row is no mapping, lacks the column, or has no valid text in it.
    """
    source, column = parameters
    skipped = 0
    for place, content in rows:
        if not isinstance(content, Mapping):
            rule = f"must hold rows with a column `{text_field}`"
            raise InvalidValueError(source, rule, f"{_shown(content)} in {place}")
        if text_field not in content:
            rule = f"must be one of the columns {list(content)}"
            raise InvalidValueError(column, rule, f"{text_field}, which {place} lacks")
        if content[text_field] is None:
            skipped += 1
            continue
        if not isinstance(content[text_field], str):
            rule = f"must hold text or null in the column `{text_field}`"
            raise InvalidValueError(source, rule, f"{_shown(content[text_field])} in {place}")
        yield require_text(content[text_field], source, place)
    if skipped:
        rows_are = "row with null is" if skipped == 1 else "rows with null are"
        warnings.warn(f"{skipped} {rows_are} skipped, the last text being in {place}.", stacklevel=2)


def _hub_rows(name: str, split: str, parameter: str) -> Iterator[Row]:
    import datasets

    try:
        dataset = datasets.load_dataset(name, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        rule = f"must be {FORMATS}, or a dataset id on the hub with the split {split!r}"
        raise InvalidValueError(parameter, rule, f"{name!r} ({reason})") from error
    return (Row(f"row {number} of {name}", row) for number, row in enumerate(dataset, start=1))


def _json_rows(source: str | Path, parameter: str, *, may_be_array: bool) -> Iterator[Row]:
    with _opened(source, parameter) as file:
        start = file.read(64).lstrip(_BYTE_ORDER_MARK).lstrip()[:1]
    if may_be_array and start == b"[":
        rows = _parsed(read_text(source, parameter), parameter, str(source))
        yield from (Row(f"row {number} of {source}", row) for number, row in enumerate(rows, start=1))
        return
    with _opened(source, parameter) as file:
        for number, raw in enumerate(file, start=1):  # bytes are split at \n alone
            line = _decoded(raw, str(source), parameter, first_line=number)
            if line.strip():
                place = f"line {number} of {source}"
                yield Row(place, _parsed(line, parameter, place))


def _parsed(text: str, parameter: str, place: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise InvalidValueError(parameter, "must hold rows that are less deeply nested", place) from error
    except ValueError as error:
        raise InvalidValueError(parameter, "must hold JSON", f"{_shown(text)} in {place} ({error})") from error


def _parquet_rows(source: str | Path, parameter: str) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(user_path(source)) as file:
            for batch in file.iter_batches(1024):
                for content in batch.to_pylist():
                    number += 1
                    yield Row(f"row {number} of {source}", content)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        if isinstance(error, InvalidValueError):
            raise
        reason = " ".join(str(error).split())
        raise InvalidValueError(parameter, "must be a whole Parquet file", f"{source} ({reason})") from error


@contextmanager
def _opened(path: str | Path, parameter: str) -> Iterator[IO[bytes]]:
    place = user_path(path)
    try:
        with gzip.open(place, "rb") if place.suffix.lower() == ".gz" else place.open("rb") as file:
            yield file  # type: ignore[misc]
    except InvalidValueError:
        raise
    except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InvalidValueError(parameter, "must be a readable file", f"{str(path)!r} ({reason})") from error


def _decoded(raw: bytes, source: str, parameter: str, first_line: int = 1) -> str:
    if first_line == 1:
        raw = raw.removeprefix(_BYTE_ORDER_MARK)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + raw.count(b"\n", 0, error.start)
        received = f"the byte 0x{raw[error.start]:02x} in line {line} of {source}"
        hint = "It seems to be UTF-16." if first_line == 1 and raw.startswith(_UTF16_MARKS) else ""
        raise InvalidValueError(parameter, "must be UTF-8 text", received, hint) from error
    if "\0" in text:
        line = first_line + text.count("\n", 0, text.index("\0"))
        raise InvalidValueError(parameter, "must be UTF-8 text", f"a NUL byte in line {line} of {source}")
    return text


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
