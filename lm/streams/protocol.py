"""What a decoding stream is: a model reading N texts token by token, each row at its own position."""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor


class StreamOutput(NamedTuple):
    """What a stream says after reading one token in every row."""

    logits: Tensor
    """(N, V) of the next token, in float32 (float64 for a float64 model)."""

    hidden: Tensor
    """(N, D) hidden state of the newest token after the last norm, in the same type."""


class PromptOutput(NamedTuple):
    """What a stream says while it reads prompts in R rows."""

    before_newest: StreamOutput
    """Outputs (R, ...) after the last token but one; without meaning for a prompt of fewer than two tokens."""

    newest: StreamOutput
    """Outputs (R, ...) after the last token; without meaning for an empty prompt."""


class DecodingStream(Protocol):
    """N rows of text being read; each row has its own length, at most `capacity` tokens.

    What :meth:`step` and :meth:`peek` return holds until the next of them: the next output may lie in the same memory.
    """

    num_rows: int
    capacity: int
    lengths: Tensor
    """(N,) tokens read in each row."""

    def prefill(self, rows: Tensor, tokens: Tensor, lengths: Tensor) -> PromptOutput:
        """Begin these rows anew with a prompt, read without gates.

        Args:
            rows: (R,) row indices.
            tokens: (R, P) token ids, right-padded with any valid id.
            lengths: (R,) tokens that count; 0 empties the row.
        """

    def copy_rows(self, other: Self, rows: Tensor, lengths: Tensor, other_rows: Tensor | None = None) -> None:
        """Copies what `other`, a stream of the same model, has read into these rows.

        Args:
            other: with as many slots as this one.
            rows: (R,) row indices.
            lengths: (R,) how many of the other's tokens to take, from the first on.
            other_rows: (R,) the other's rows to take them from; None: the same ones.
        """

    def state(self) -> dict[str, Tensor]:
        """What has been read, after a first prefill: the tensors themselves, so that writing into them puts it back."""

    def step(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """Read one more token in every row. A row that is full stays full: it means nothing until its next prefill.

        Args:
            tokens: (N,) token ids.
            gates: (N, 3) gate signals in [0, 1] under which these tokens are read; None is unit scaling.
            focus_bias: (N,) strength of the bias towards near keys; None is none.
        """

    def peek(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """What :meth:`step` would return, reading nothing."""


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
