"""Values that must not be followed where a file from elsewhere holds them, and the places to plant them in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

CANARIES = ("canary_module:make", "canary_module.Make", "pydoc:pipepager", "unknown/model", "/etc/passwd")


def text_fields(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of plain data that hold text or nothing, in mappings and in lists of mappings."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from text_fields(value, (*path, name))
    elif isinstance(content, list):
        for place, value in enumerate(content):
            if isinstance(value, dict):
                yield from text_fields(value, (*path, place))
    elif isinstance(content, str) or content is None:
        yield path


def planted(content: Any, path: tuple[Any, ...], canary: Any) -> Any:
    """The content with a canary at a place."""
    if not path:
        return canary
    first, *others = path
    changed = content.copy()
    changed[first] = planted(content[first], tuple(others), canary)
    return changed
