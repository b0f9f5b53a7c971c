"""Text of the messages that TRL hands to reward functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def completion_text(completion: Any) -> str:
    """Text of a completion: a string, or messages, of which the last one counts; "" where there is none."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Mapping):
        return text_of(completion.get("content"))
    return text_of(completion[-1].get("content")) if completion else ""


def text_of(content: Any) -> str:
    """Text of a message's content: a string, blocks of which those of text count, or None (a tool call)."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    blocks = [block if isinstance(block, str) else block.get("text") for block in content or ()]
    return "".join(text for text in blocks if isinstance(text, str))
