"""A task reward: use one of several words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from lm.carl.messages import completion_text
from lm.carl.training.prompt_groups import Prompt, flat_groups
from lm.errors import InvalidValueError


class WordTask:
    """A reward function of TRL's kind: 1 for a completion that contains one of the words, else 0.

    Args:
        words: at least one word; case and surrounding characters are ignored.
    """

    __name__ = "task"  # what TRL calls it in its logs

    def __init__(self, words: Sequence[str]) -> None:
        if not words or not all(word.strip() for word in words):
            raise InvalidValueError("words", "must be one or more words that are not empty", list(words))
        self.words = tuple(words)
        self._pattern = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in self.words), re.IGNORECASE)

    def __call__(
        self,
        completions: Sequence[Any],
        *,
        prompts: Sequence[Prompt] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """1.0 or 0.0 for each completion, text or messages; ``task/flat_groups`` is logged."""
        rewards = [float(self._pattern.search(completion_text(one)) is not None) for one in completions]
        if prompts is not None and log_metric is not None:
            log_metric("task/flat_groups", flat_groups(rewards, prompts))
        return rewards
