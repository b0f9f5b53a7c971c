"""Parameters that can be tuned: where to look for each, and what it is if nothing is said."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lm.checks import require_number
from lm.errors import InvalidValueError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Range:
    """Where tuning looks for a parameter; a whole number if `low` is one. Values beyond may be given by hand."""

    low: float
    """Least value that is tried."""
    high: float
    """Largest value that is tried."""
    default: float
    """Value if none is given, and the first that is tried."""
    is_log: bool = False
    """Whether equal ratios count as equal distances."""
    step: float | None = None
    """Distance of the values that are tried, the least and the largest among them; None tries any in between."""

    @property
    def is_whole(self) -> bool:
        """Whether the parameter is a whole number."""
        return isinstance(self.low, int)

    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_whole:
            return IntDistribution(int(self.low), int(self.high), log=self.is_log)
        return FloatDistribution(self.low, self.high, log=self.is_log, step=self.step)


def settings_in(space: Mapping[str, Range], values: Mapping[str, Any], owner: str) -> dict[str, float]:
    """All parameters of a space: those in `values`, the others at their defaults.

    Raises:
        InvalidValueError: a name that `owner` does not have, or a value that is no finite number, or not whole where it
            must be.
    """
    for name in values:
        if name not in space:
            near = difflib.get_close_matches(name, space, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else ""
            raise InvalidValueError(owner, f"may only have the parameters {', '.join(space)}", repr(name), hint)
    settings: dict[str, float] = {}
    for name, where in space.items():
        value = require_number(f"{owner}.{name}", values.get(name, where.default))
        if where.is_whole and not value.is_integer():
            raise InvalidValueError(f"{owner}.{name}", "must be a whole number", value)
        settings[name] = int(value) if where.is_whole else value
    return settings
