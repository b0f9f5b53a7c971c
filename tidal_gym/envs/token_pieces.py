"""The text that each token of a text adds."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase


class GrowingText:
    """A text that grows token by token. A character of several tokens comes with the last of them.

    Args:
        tokenizer: of the tokens.
        token_ids: what the text begins with.
        skip_special_tokens: whether special tokens add nothing.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int], *, skip_special_tokens: bool = False
    ) -> None:
        self._tokenizer, self._skips = tokenizer, skip_special_tokens
        self._token_ids = list(token_ids)
        self.text = self._decoded()

    def add(self, token_id: int, *, is_last: bool) -> str:
        """What one more token adds; empty while the bytes of a character are incomplete and the text goes on."""
        self._token_ids.append(token_id)
        longer = self._decoded()
        # The replacement character stands for bytes that the next tokens complete.
        if longer.endswith("\ufffd") and not is_last:
            return ""
        piece, self.text = longer[len(self.text) :], longer
        return piece

    def _decoded(self) -> str:
        return self._tokenizer.decode(self._token_ids, skip_special_tokens=self._skips)


def token_pieces(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int], start: int = 0) -> list[str]:
    """The text that each token from place `start` on adds; joined, they are the text after the first `start` tokens."""
    growing, last = GrowingText(tokenizer, token_ids[:start]), len(token_ids) - 1
    return [growing.add(token_ids[place], is_last=place == last) for place in range(start, len(token_ids))]
