"""The exceptions that Tidal Gym raises on purpose.

::

    TidalGymError
    ├── InvalidValueError    (also a ValueError)    a parameter that breaks its rule
    ├── ModelFolderError     (also a ValueError)    a model folder that lacks something
    ├── OutputExistsError    (also a RuntimeError)  an output folder that already holds a run
    ├── RunInUseError        (also a RuntimeError)  an output folder whose run another process writes
    ├── CheckpointError      (also a RuntimeError)  a checkpoint that is damaged or of another model
    ├── DivergedError        (also a RuntimeError)  a training whose weights are no longer numbers
    └── MissingExtraError    (also an ImportError)  an optional library that is not installed
"""

from __future__ import annotations


class TidalGymError(Exception):
    """Root of all errors raised by this project."""


class InvalidValueError(TidalGymError, ValueError):
    """A parameter breaks its rule. The message names the parameter, the rule and the value received."""

    def __init__(self, parameter: str, rule: str, received: object, hint: str = "") -> None:
        message = f"`{parameter}` {rule}. Received {received}."
        super().__init__(f"{message} {hint}" if hint else message)
        self.arguments = (parameter, rule, received, hint)

    def named(self, parameter: str) -> InvalidValueError:
        """The same error under another name of the parameter: the one that the caller knows."""
        return InvalidValueError(parameter, *self.arguments[1:])

    def __reduce__(self) -> tuple[type[InvalidValueError], tuple[str, str, object, str]]:
        # Vector environments and data workers send exceptions between processes, and the default rebuilds from `args`.
        return type(self), self.arguments


class ModelFolderError(TidalGymError, ValueError):
    """A model folder lacks its tokenizer, its reference statistics, or is not a model folder."""


class OutputExistsError(TidalGymError, RuntimeError):
    """An output folder already holds a run, and overwriting was not asked for."""


class RunInUseError(TidalGymError, RuntimeError):
    """Another process, or another thread, runs in the output folder."""


class CheckpointError(TidalGymError, RuntimeError):
    """A checkpoint is damaged, or belongs to another model or configuration."""


class DivergedError(TidalGymError, RuntimeError):
    """A training whose weights have become NaN or infinite."""


class MissingExtraError(TidalGymError, ImportError):
    """An optional library is not installed."""


def first_line(error: Exception) -> str:
    """Another library's message in one line, or the error's type where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])
