"""The texts of all rows: tokens, first occurrences and repetition statistics."""

from __future__ import annotations

import torch
from torch import Tensor

RECENT_TOKENS = 10
"""Window of recent tokens in the observation and in the repetition reward [tokens]."""


class TokenHistory:
    """Text tokens of N rows, each with its own length: the prompt without special prefix, and the drawn tokens.

    All operations are batched over rows; L is the capacity.
    """

    def __init__(self, num_rows: int, capacity: int, device: torch.device | str = "cpu") -> None:
        def counters() -> Tensor:
            return torch.zeros(num_rows, dtype=torch.int64, device=device)

        self.tokens = torch.zeros(num_rows, capacity, dtype=torch.int64, device=device)
        """(N, L) token ids. Beyond a row's length its first token is repeated: as a *set*, the whole row equals its
        text, so that gather and scatter operations need no mask."""
        self.is_first = torch.zeros(num_rows, capacity, dtype=torch.bool, device=device)
        """(N, L), True where a token occurs for the first time in its row."""
        self.lengths = counters()
        """(N,) lengths of the texts [tokens]."""
        self.newest = counters()
        """(N,) ids of the newest token of each row."""
        self._distinct, self._distinct_bigrams = counters(), counters()
        self._columns = torch.arange(capacity, device=device)
        self._recent = torch.arange(-RECENT_TOKENS, 0, device=device)

    def reset(self, rows: Tensor, prompts: Tensor, lengths: Tensor) -> None:
        """Resets rows.

        Args:
            rows: (R,) indices of the rows.
            prompts: (R, P) token ids, right-padded with any values.
            lengths: (R,) length of each prompt [tokens], at least 1.
        """
        width = prompts.shape[1]
        is_token = self._columns[:width] < lengths.unsqueeze(1)  # (R, P)
        tokens = torch.where(is_token, prompts, prompts[:, :1])
        is_same = (tokens.unsqueeze(2) == tokens.unsqueeze(1)).tril(diagonal=-1)  # (R, P, P), place and earlier place
        is_first = is_token & ~is_same.any(dim=2)
        # The bigram that ends at a position, and one that ends at an earlier position.
        is_new_bigram = is_token[:, 1:] & ~(is_same[:, 1:, 1:] & is_same[:, :-1, :-1]).any(dim=2)

        self.tokens[rows] = prompts[:, :1]
        self.tokens[rows, :width] = tokens
        self.is_first[rows] = False
        self.is_first[rows, :width] = is_first
        self.lengths[rows] = lengths
        self.newest[rows] = tokens.gather(1, lengths.unsqueeze(1) - 1).squeeze(1)
        self._distinct[rows] = is_first.sum(dim=1)
        self._distinct_bigrams[rows] = is_new_bigram.sum(dim=1)

    def copy_rows(self, other: TokenHistory, rows: Tensor) -> None:
        """Copies the texts of rows (N,) of `other`, which has the same capacity."""
        for mine, theirs in zip(self.state().values(), other.state().values(), strict=True):
            mine.copy_(theirs[rows])

    def state(self) -> dict[str, Tensor]:
        """State of the texts: the tensors themselves, not copies."""
        names = ("tokens", "is_first", "lengths", "newest", "_distinct", "_distinct_bigrams")
        return {name: getattr(self, name) for name in names}

    def append(self, tokens: Tensor) -> None:
        """Appends one token (N,) to each row."""
        place = self.lengths.unsqueeze(1)
        is_token = self.tokens == tokens.unsqueeze(1)  # (N, L)
        is_bigram = is_token[:, 1:] & (self.tokens[:, :-1] == self.newest.unsqueeze(1))
        is_bigram &= self._columns[1:] < place
        is_new = ~is_token.any(dim=1)
        self._distinct += is_new
        self._distinct_bigrams += ~is_bigram.any(dim=1)
        self.is_first.scatter_(1, place, is_new.unsqueeze(1))
        self.tokens.scatter_(1, place, tokens.unsqueeze(1))
        self.lengths += 1
        self.newest.copy_(tokens)

    def recent(self) -> Tensor:
        """(N, 10) ids of the last tokens, oldest first; -1 where a text is shorter."""
        places = self.lengths.unsqueeze(1) + self._recent
        return self.tokens.gather(1, places.clamp(min=0)).masked_fill_(places < 0, -1)

    def newest_last(self) -> Tensor:
        """(N, L) the texts, each with its newest token in the last column, left-padded with its first token.

        As in ``generate``, but the padding token also belongs to the text.
        """
        places = self._columns + self.lengths.unsqueeze(1) - len(self._columns)
        return self.tokens.gather(1, places.clamp(min=0))

    def repetition_ratio(self) -> Tensor:
        """(N,) 1 - distinct-1: the share of tokens that repeat an earlier one, in [0, 1)."""
        return 1.0 - self._distinct.float() / self.lengths

    def distinct_bigrams(self) -> Tensor:
        """(N,) distinct-2: distinct bigrams / bigrams, in [0, 1]; 1 for a text of one token."""
        num_bigrams = self.lengths - 1
        return torch.where(num_bigrams > 0, self._distinct_bigrams.float() / num_bigrams.clamp(min=1), 1.0)
