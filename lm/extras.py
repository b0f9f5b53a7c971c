"""Optional dependencies; raises a clear error when absent."""

from __future__ import annotations

from importlib import import_module

from lm.errors import MissingExtraError


def require_extra(module: str, extra: str, purpose: str) -> None:
    """Checks that a module of an extra can be imported.

    Args:
        module: name of the module.
        extra: the extra of `tidal-gym` that installs it.
        purpose: the feature that needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: the module cannot be imported.
    """
    try:
        import_module(module)
    except ImportError as error:
        message = f"{purpose} needs the extra `{extra}`: pip install 'tidal-gym[{extra}]'. ({error})"
        raise MissingExtraError(message) from error
