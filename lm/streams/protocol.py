"""Protocol of decoding streams: a model reads N texts token by token, each row at its own position."""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor


class StreamOutput(NamedTuple):
    """Output of a stream after reading one token in each row."""

    logits: Tensor
    """(N, V) logits of the next token, in float32 (float64 for a float64 model)."""

    hidden: Tensor
    """(N, D) hidden state of the newest token after the last norm, in the same type."""


class PromptOutput(NamedTuple):
    """Outputs of a stream after the last two tokens of prompts in R rows."""

    before_newest: StreamOutput
    """Outputs (R, ...) after the last token but one; undefined for prompts of fewer than two tokens."""

    newest: StreamOutput
    """Outputs (R, ...) after the last token; undefined for empty prompts."""


class DecodingStream(Protocol):
    """A model with a KV cache for N rows of text, each with its own length of at most `capacity` tokens.

    Results of :meth:`step` and :meth:`peek` are valid until the next call, which may overwrite them.
    """

    num_rows: int
    capacity: int
    lengths: Tensor
    """(N,) number of tokens read in each row."""

    def prefill(self, rows: Tensor, tokens: Tensor, lengths: Tensor) -> PromptOutput:
        """Resets rows with prompts, which are read without gates.

        Args:
            rows: (R,) row indices.
            tokens: (R, P) token ids, right-padded with any valid id.
            lengths: (R,) number of prompt tokens; 0 empties the row.
        """

    def copy_rows(self, other: Self, rows: Tensor, lengths: Tensor, other_rows: Tensor | None = None) -> None:
        """Copies rows of `other`, a stream of the same model.

        Args:
            other: stream with the same capacity.
            rows: (R,) row indices.
            lengths: (R,) number of tokens to copy, from the first on.
            other_rows: (R,) row indices in `other`; None: the same as `rows`.
        """

    def state(self) -> dict[str, Tensor]:
        """State of the cache after a first prefill: the tensors themselves, so that writing into them restores it."""

    def step(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """Reads one token in every row. The outputs of a full row are undefined until its next prefill.

        Args:
            tokens: (N,) token ids.
            gates: (N, 3) gate signals in [0, 1] under which these tokens are read; None is unit scaling.
            focus_bias: (N,) strength of the bias towards near keys; None: no bias.
        """

    def peek(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """Result of :meth:`step` without keeping the token."""


def attention_bias(lengths: Tensor, slots: Tensor, focus_bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Additive attention bias (N, S) for one new token a row, at slot lengths[n]: −inf beyond it, nearness before it.

    The bias by distance is ``-focus_bias (i - j) / max(i, 1)`` from query i = lengths[n] to key j.
    """
    distance = lengths[:, None] - slots  # (N, S)
    if focus_bias is None:
        bias = torch.zeros(distance.shape, dtype=dtype, device=distance.device)
    else:
        bias = (distance * (-focus_bias / lengths.clamp(min=1))[:, None]).to(dtype)
    return bias.masked_fill_(distance < 0, -torch.inf)


def stream_output(logits: Tensor, hidden: Tensor) -> StreamOutput:
    """The output in float32, or float64 for a float64 model."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return StreamOutput(logits.to(dtype), hidden.to(dtype))
