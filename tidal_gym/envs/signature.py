"""Signatures of constructors that pass their arguments on, for type checkers, editors and ``help``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

_P = ParamSpec("_P")


def with_arguments_of(
    vector_env: Callable[Concatenate[int, Any, _P], object],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, _P], None]]:
    """Decorator that gives a scalar environment's constructor the signature of a vector environment's.

    Args:
        vector_env: class whose constructor takes the number of rows, the autoreset mode, and `_P`.
    """
    this, _, _, *named = _parameters_of(vector_env)

    def decorate(constructor: Callable[..., None]) -> Callable[Concatenate[Any, _P], None]:
        constructor.__signature__ = inspect.Signature([this, *named])  # type: ignore[attr-defined]
        return constructor

    return decorate


def _parameters_of(kind: Any) -> list[inspect.Parameter]:
    """Parameters of a constructor; those behind ``**`` are looked up in the next class."""
    found: dict[str, inspect.Parameter] = {}
    for each in kind.__mro__:
        if "__init__" in vars(each):
            parameters = inspect.signature(each.__init__).parameters
            named = {name: value for name, value in parameters.items() if value.kind is not value.VAR_KEYWORD}
            found |= {name: value for name, value in named.items() if name not in found}
            if len(named) == len(parameters):
                break
    return list(found.values())
