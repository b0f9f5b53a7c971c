"""The error for values that break a rule: the package's own, or a copy of it where the package is not installed.

``save_pretrained`` copies the model's files beside its weights, so that other programs can load it.
"""

from __future__ import annotations

try:
    from lm.errors import InvalidValueError
except ImportError:

    class InvalidValueError(ValueError):  # type: ignore[no-redef]
        """A parameter breaks its rule. The message names the parameter, the rule and the value received."""

        def __init__(self, parameter: str, rule: str, received: object) -> None:
            super().__init__(f"`{parameter}` {rule}. Received {received}.")


__all__ = ["InvalidValueError"]
