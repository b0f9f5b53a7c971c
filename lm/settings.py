"""Makes frozen settings dataclasses from plain mappings, with errors for unknown names."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from lm.errors import InvalidValueError

Settings = TypeVar("Settings")


def settings_from(kind: type[Settings], parameter: str, values: Mapping[str, Any] | Settings | None) -> Settings:
    """An instance of the dataclass `kind` from its defaults and the overrides in `values`.

    Lists become tuples, since JSON has no tuples. An instance of `kind` is returned unchanged.

    Raises:
        InvalidValueError: `values` is not a mapping, or names a field that `kind` does not have.
    """
    if isinstance(values, kind):
        return values
    if values is None:
        return kind()
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if not isinstance(values, Mapping):
        raise InvalidValueError(parameter, f"must be a mapping with some of the keys {', '.join(names)}", repr(values))
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else ""
            raise InvalidValueError(parameter, f"may only have the keys {', '.join(names)}", repr(name), hint)
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
