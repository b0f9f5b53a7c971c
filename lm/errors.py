"""The exceptions that Tidal Gym raises on purpose.

::

    TidalGymError
    ├── InvalidValueError    (also a ValueError)    an invalid parameter
    ├── ModelFolderError     (also a ValueError)    an incomplete or unsupported model folder
    ├── OutputExistsError    (also a RuntimeError)  an output folder that already contains a run
    ├── RunInUseError        (also a RuntimeError)  an output folder that another process writes to
    ├── CheckpointError      (also a RuntimeError)  a damaged checkpoint, or one of another model
    ├── DivergedError        (also a RuntimeError)  a training whose weights became NaN or infinite
    └── MissingExtraError    (also an ImportError)  an optional library that is not installed
"""

from __future__ import annotations


class TidalGymError(Exception):
    """Root of all errors raised by this project."""


class InvalidValueError(TidalGymError, ValueError):
    """A parameter is invalid. The message names the parameter, the rule and the value received."""

    def __init__(self, parameter: str, rule: str, received: object, hint: str = "") -> None:
        message = f"`{parameter}` {rule}. Received {received}."
        super().__init__(f"{message} {hint}" if hint else message)
        self.arguments = (parameter, rule, received, hint)

    def named(self, parameter: str) -> InvalidValueError:
        """The same error with another parameter name, that of the caller."""
        return InvalidValueError(parameter, *self.arguments[1:])

    def __reduce__(self) -> tuple[type[InvalidValueError], tuple[str, str, object, str]]:
        # Vector environments and data workers send exceptions between processes, and the default rebuilds from `args`.
        return type(self), self.arguments


class ModelFolderError(TidalGymError, ValueError):
    """A model folder lacks its tokenizer, its reference statistics, or is not a model folder."""


class OutputExistsError(TidalGymError, RuntimeError):
    """An output folder already contains a run, and `overwrite` is False."""


class RunInUseError(TidalGymError, RuntimeError):
    """Another process or thread writes to the output folder."""


class CheckpointError(TidalGymError, RuntimeError):
    """A checkpoint is damaged, or belongs to another model or configuration."""


class DivergedError(TidalGymError, RuntimeError):
    """Weights have become NaN or infinite in training."""


class MissingExtraError(TidalGymError, ImportError):
    """An optional library is not installed."""


def first_line(error: BaseException) -> str:
    """First line of another library's message, or the error's type if the message is empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])
