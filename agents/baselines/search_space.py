"""Search ranges and defaults of tunable parameters."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lm.checks import require_number
from lm.errors import InvalidValueError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Range:
    """Search range of a parameter; an integer parameter if `low` is an int. Users may set values outside of it."""

    low: float
    """Smallest value in the search."""
    high: float
    """Largest value in the search."""
    default: float
    """Default value, and the first value in the search."""
    is_log: bool = False
    """Whether the search scale is logarithmic."""
    step: float | None = None
    """Distance between searched values; None: the range is continuous."""

    @property
    def is_whole(self) -> bool:
        """Whether the parameter is an integer."""
        return isinstance(self.low, int)

    def distribution(self) -> BaseDistribution:
        """The range as an Optuna distribution."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_whole:
            return IntDistribution(int(self.low), int(self.high), log=self.is_log)
        return FloatDistribution(self.low, self.high, log=self.is_log, step=self.step)

    def at(self, share: float) -> float:
        """The value that lies at a share in [0, 1] of the way from the least to the largest."""
        if self.is_log:
            value = self.low * math.exp(share * math.log(self.high / self.low))
        else:
            value = self.low + share * (self.high - self.low)
        if self.is_whole:
            value = round(value)
        elif self.step is not None:
            value = self.low + self.step * round((value - self.low) / self.step)
        return min(max(value, self.low), self.high)


def settings_in(space: Mapping[str, Range], values: Mapping[str, Any], owner: str) -> dict[str, float]:
    """All parameters of a space: given values, and defaults for the others.

    Raises:
        InvalidValueError: a name is not in the space, or a value is not a finite number, or not an integer where one is
            required.
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
