"""The text of every row so far: its tokens, which of them are new, and how much of it repeats."""

from __future__ import annotations

import torch
from torch import Tensor

RECENT_TOKENS = 10
"""How far back [tokens] the recent past reaches, in the observation and in the repetition reward."""


class TokenHistory:
    """Text tokens of N rows, each with its own length: the prompt without special prefix, and what was drawn.

    Every operation works on all rows at once; L is the capacity.
    """

    def __init__(self, num_rows: int, capacity: int, device: torch.device | str = "cpu") -> None:
        self.tokens = torch.zeros(num_rows, capacity, dtype=torch.int64, device=device)
        """(N, L) ids. Beyond a row's length its first token stands again and again: as a *set*, the whole row is its
        text, so that gathers and scatters over it need no mask."""
        self.is_first = torch.zeros(num_rows, capacity, dtype=torch.bool, device=device)
        """(N, L), True where a token occurs for the first time in its row: one place for each distinct token."""
        self.lengths = torch.zeros(num_rows, dtype=torch.int64, device=device)
        """(N,) [tokens]."""
        self.newest = torch.zeros(num_rows, dtype=torch.int64, device=device)
        """(N,) the last token of each row."""
        self._distinct_bigrams = torch.zeros(num_rows, dtype=torch.int64, device=device)
        self._rows = torch.arange(num_rows, device=device)
        self._columns = torch.arange(capacity, device=device)
        self._recent = torch.arange(-RECENT_TOKENS, 0, device=device)

    def reset(self, rows: Tensor, prompts: Tensor, lengths: Tensor) -> None:
        """Begins rows anew.

        Args:
            rows: (R,) which rows.
            prompts: (R, P) ids, right-padded with anything.
            lengths: (R,) tokens of each prompt, at least 1.
        """
        self.tokens[rows] = prompts[:, :1]
        self.is_first[rows] = False
        self.lengths[rows] = 0
        self._distinct_bigrams[rows] = 0
        for place in range(prompts.shape[1]):
            has_token = lengths > place
            self._append(rows[has_token], prompts[has_token, place])

    def append(self, tokens: Tensor) -> None:
        """Adds one token (N,) to every row."""
        self._append(self._rows, tokens)

    def _append(self, rows: Tensor, tokens: Tensor) -> None:
        # rows (R,), tokens (R,)
        text, lengths = self.tokens[rows], self.lengths[rows]
        is_token = text == tokens.unsqueeze(1)  # (R, L)
        is_pair = is_token[:, 1:] & (text[:, :-1] == self.newest[rows].unsqueeze(1))
        is_pair &= self._columns[1:] < lengths.unsqueeze(1)
        self._distinct_bigrams[rows] += (lengths > 0) & ~is_pair.any(dim=1)
        self.is_first[rows, lengths] = (lengths == 0) | ~is_token.any(dim=1)
        self.tokens[rows, lengths] = tokens
        self.lengths[rows] = lengths + 1
        self.newest[rows] = tokens

    def recent(self) -> Tensor:
        """(N, 10) the last tokens, oldest first; -1 where a text is shorter."""
        places = self.lengths.unsqueeze(1) + self._recent
        return torch.where(places < 0, -1, self.tokens.gather(1, places.clamp(min=0)))

    def repetition_ratio(self) -> Tensor:
        """(N,) 1 - distinct-1: the share of tokens that repeat an earlier one, in [0, 1)."""
        return 1.0 - self.is_first.sum(dim=1) / self.lengths

    def distinct_bigrams(self) -> Tensor:
        """(N,) distinct-2: the share of bigrams that are new, in [0, 1]; 1 for a text of one token."""
        return torch.where(self.lengths > 1, self._distinct_bigrams / (self.lengths - 1).clamp(min=1), 1.0)
