"""Libraries that come with an extra, and are missed by name where they are not installed."""

from __future__ import annotations

from importlib import import_module

from lm.errors import MissingExtraError


def require_extra(module: str, extra: str, purpose: str) -> None:
    """A module can be imported.

    Args:
        module: name of the module.
        extra: the extra of `tidal-gym` that brings it.
        purpose: what needs it, as the beginning of a sentence.

    Raises:
        MissingExtraError: it cannot.
    """
    try:
        import_module(module)
    except ImportError as error:
        message = f"{purpose} needs the extra `{extra}`: pip install 'tidal-gym[{extra}]'. ({error})"
        raise MissingExtraError(message) from error
