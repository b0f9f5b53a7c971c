"""Escapes control characters of untrusted text for display in a terminal."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline, bidirectional marks, and lone surrogates."""


def shown_controls(text: str) -> str:
    """The text with control characters as escapes such as ``\\x1b``; newlines and tabs are kept."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
