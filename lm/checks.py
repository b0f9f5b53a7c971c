"""Rules for parameters: types and finite numbers from a configuration's annotations, ranges by :class:`Bounds`."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from lm.errors import InvalidValueError

LARGEST_INTEGER = 2**63 - 1
"""Largest 64-bit integer, the maximum in torch and NumPy."""


class Bounds(NamedTuple):
    """Range of a number, with its description in messages."""

    least: float = -math.inf
    """Lower end."""
    most: float = math.inf
    """Upper end."""
    is_open_below: bool = False
    """Whether the lower end is excluded."""
    is_open_above: bool = False
    """Whether the upper end is excluded."""

    @property
    def rule(self) -> str:
        """The rule in messages."""
        least, most = (f"{end:g}" if isinstance(end, float) else str(end) for end in (self.least, self.most))
        lower = f"{'above' if self.is_open_below else 'at least'} {least}"
        upper = f"{'below' if self.is_open_above else 'at most'} {most}"
        if self.most == math.inf:
            return f"must be {lower}"
        if self.least == 0 and self.most == 1:
            return f"must be in {'[('[self.is_open_below]}0, 1{'])'[self.is_open_above]}"
        return f"must be {upper}" if self.least == -math.inf else f"must be {lower} and {upper}"

    def __contains__(self, value: object) -> bool:
        assert isinstance(value, (int, float))
        is_above = value > self.least if self.is_open_below else value >= self.least
        return is_above and (value < self.most if self.is_open_above else value <= self.most)


def at_least(least: float, most: float = math.inf) -> Bounds:
    """Range from `least` to `most`, both included."""
    return Bounds(least, most)


def above(least: float, most: float = math.inf) -> Bounds:
    """Range from `least`, excluded, to `most`, included."""
    return Bounds(least, most, is_open_below=True)


COUNT = at_least(1)
"""Range of a count."""
SHARE = at_least(0, 1)
"""Range of a probability, a discount or a share."""
SEED = at_least(0, 2**32 - 1)
"""Range of a seed: that of NumPy's global generator, which Stable-Baselines3 and transformers seed."""
TEMPERATURE = at_least(1e-4, 1e4)
"""Range of a temperature or a factor on it: logits divided by the product of two stay finite in float32."""
LEARNING_RATE = above(0, 1000)
"""Range of a learning rate: a step with a larger one overflows."""
WEIGHT = at_least(-1e6, 1e6)
"""Range of a factor on a reward: sums of larger ones lose accuracy in float32."""


def require(parameter: str, rule: str, value: object, is_kept: bool) -> None:
    """Raises InvalidValueError where the rule is not kept."""
    if not is_kept:
        raise InvalidValueError(parameter, rule, repr(value))


def require_integer(parameter: str, value: object, bounds: Bounds | None = None) -> int:
    """`value` as an int; NumPy's integers are some as well, True and 3.0 are not.

    Raises:
        InvalidValueError: anything else, or it is out of bounds.
    """
    number = _converted(int, value, parameter)
    _require_within(parameter, number, bounds)
    return number


def require_number(parameter: str, value: object, bounds: Bounds | None = None) -> float:
    """`value` as a float.

    Raises:
        InvalidValueError: `value` is not a finite number, or it is out of bounds.
    """
    number = float(_converted(float, value, parameter))
    _require_within(parameter, number, bounds)
    return number


def require_text(parameter: str, value: object) -> str:
    """`value`, a name or a path (also a ``Path``).

    Raises:
        InvalidValueError: it is no string, is empty, or holds a character that no name or path can hold.
    """
    return _converted(str, value, parameter)


def require_one_of(parameter: str, value: object, choices: Iterable[str]) -> str:
    """`value`, one of several names.

    Raises:
        InvalidValueError: it is none of them.
    """
    choices = list(choices)
    require(parameter, f"must be one of {', '.join(choices)}", value, isinstance(value, str) and value in choices)
    return str(value)


def check_fields(config: Any, section: str = "", /, **bounds: Bounds) -> None:
    """Checks the fields of a frozen dataclass in its ``__post_init__``: types by their annotations, numbers by bounds.

    Floats must be finite and strings must not be empty. NumPy's numbers become Python's, and lists become tuples where
    these are annotated, as YAML and JSON have only the former.

    Args:
        config: dataclass with annotations of int, float, bool, str, Literal, tuple, list[str], dict, other dataclasses,
            None and unions of them.
        section: its name as an option, which messages put before that of a field.
        bounds: of numbers, or of each number of a tuple, by field.

    Raises:
        InvalidValueError: names the first field that breaks its rule.
    """
    kind: Any = type(config)
    hints = _hints(kind)
    assert bounds.keys() <= hints.keys(), "bounds of fields that do not exist"
    for name, hint in hints.items():
        parameter = f"{section}.{name}" if section else name
        value = _converted(hint, getattr(config, name), parameter)
        object.__setattr__(config, name, value)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None:
                _require_within(parameter, number, bounds.get(name))


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _require_within(parameter: str, number: float, bounds: Bounds | None) -> None:
    if bounds is not None and number not in bounds:
        raise InvalidValueError(parameter, bounds.rule, number)
    if isinstance(number, int) and abs(number) > LARGEST_INTEGER:
        raise InvalidValueError(parameter, f"must be at most {LARGEST_INTEGER}", number)


def _converted(hint: Any, value: Any, parameter: str) -> Any:
    """A value of the annotated type.

    Raises:
        InvalidValueError: it is of another one.
    """
    try:
        return _accept(hint, value)
    except _OfAnotherTypeError:
        raise InvalidValueError(parameter, f"must be {_described(hint)}", _shortened(repr(value))) from None


class _OfAnotherTypeError(Exception):
    """Inside this module: a value is not of an annotated type."""


def _accept(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        for member in get_args(hint):
            try:
                return _accept(member, value)
            except _OfAnotherTypeError:
                continue
        raise _OfAnotherTypeError
    if origin is tuple and isinstance(value, (list, tuple)):
        members = get_args(hint)
        members = members[:1] * len(value) if members[-1] is Ellipsis else members
        if len(members) == len(value):
            return tuple(_accept(member, part) for member, part in zip(members, value, strict=True))
        raise _OfAnotherTypeError
    if origin is list and isinstance(value, (list, tuple)):
        if all(isinstance(part, str) for part in value):  # texts, which are not names
            return list(value)
        raise _OfAnotherTypeError
    if origin is dict and isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return dict(value)
    if origin is Literal and isinstance(value, str) and value in get_args(hint):
        return value
    if origin is None and hint in _KINDS:
        _, is_one, convert = _KINDS[hint]
        if is_one(value):
            return convert(value)
    elif origin is None and isinstance(value, hint):
        return value
    raise _OfAnotherTypeError


def _is_integer(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Integral)


def _is_finite(value: Any) -> bool:
    if _is_integer(value):
        return abs(value) <= LARGEST_INTEGER
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)


_KINDS: dict[Any, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = {
    int: ("an integer", _is_integer, int),
    float: ("a finite number", _is_finite, lambda value: int(value) if _is_integer(value) else float(value)),
    bool: ("true or false", lambda value: isinstance(value, bool), bool),
    str: (
        "a string that is not empty",
        lambda value: isinstance(value, (str, PurePath)) and str(value) != "" and "\0" not in str(value),
        str,
    ),
    NoneType: ("None", lambda value: value is None, lambda value: value),
}
"""Description, check and conversion of each type."""


def _described(hint: Any) -> str:
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_described(member) for member in members)
    if origin is Literal:
        return f"one of {', '.join(map(str, members))}"
    if origin is tuple and members[-1] is not Ellipsis:
        return f"a list of {len(members)}, each {_described(members[0])}"
    if origin is list:
        return "a list of strings"
    if origin is tuple:
        return f"a list, each member {_described(members[0])}"
    if origin is dict:
        return "a mapping of names"
    return _KINDS[hint][0] if hint in _KINDS else f"a `{hint.__name__}`"


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]} …"
