"""Splits a text into the pieces that its tokens add."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase


class GrowingText:
    """Decodes a growing text token by token. A character of several tokens is added with the last of them.

    Args:
        tokenizer: tokenizer of the model.
        token_ids: initial tokens of the text.
        skip_special_tokens: whether to skip special tokens.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int], *, skip_special_tokens: bool = False
    ) -> None:
        self._tokenizer, self._skips = tokenizer, skip_special_tokens
        self._token_ids = list(token_ids)
        self.text = self._decoded()

    def add(self, token_id: int, *, is_last: bool) -> str:
        """Text that one more token adds; empty while the bytes of a character are incomplete and `is_last` is False."""
        self._token_ids.append(token_id)
        longer = self._decoded()
        # The replacement character marks bytes that the next tokens may complete.
        if longer.endswith("\ufffd") and not is_last:
            return ""
        piece, self.text = longer[len(self.text) :], longer
        return piece

    def _decoded(self) -> str:
        return self._tokenizer.decode(self._token_ids, skip_special_tokens=self._skips)


def token_pieces(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int], start: int = 0) -> list[str]:
    """Text that each token from position `start` on adds; joined, they are the text after the first `start` tokens."""
    growing, last = GrowingText(tokenizer, token_ids[:start]), len(token_ids) - 1
    return [growing.add(token_ids[place], is_last=place == last) for place in range(start, len(token_ids))]
