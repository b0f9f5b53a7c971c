"""The two streams: the same frozen model runs twice per token, once without and once with the gates."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lm.runs.tensors.saved_state import joined
from lm.streams.opening import PromptOutput, StreamOutput, accepts_gates, open_stream


class TwoStreams:
    """A neutral stream that has read all tokens, and a gated stream that has read all but the newest.

    For a model without gates and without focus, the streams are equal and share one decoding stream.

    Args:
        model: frozen causal LM.
        num_rows: number of rows N.
        capacity: maximum number of tokens of a row.
        has_focus: whether focus biases the attention.
    """

    def __init__(self, model: PreTrainedModel, num_rows: int, capacity: int, *, has_focus: bool) -> None:
        self._has_gates, self._has_focus = accepts_gates(model), has_focus
        self._neutral = open_stream(model, num_rows, capacity)
        self._gated = open_stream(model, num_rows, capacity) if not self.is_shared else self._neutral
        self.latest: StreamOutput
        """The neutral stream's output (N, ...) at the newest token of every row; written in place."""

    @property
    def is_shared(self) -> bool:
        """Whether both streams share one decoding stream."""
        return not (self._has_gates or self._has_focus)

    def read_prompts(self, rows: Tensor, prompts: Tensor, lengths: Tensor) -> PromptOutput:
        """Resets rows: both streams read the prompts without gates, the gated one without the newest token.

        Args:
            rows: (R,) indices of the rows; all of them, in order, in the first call.
            prompts: (R, P) token ids, right-padded with any values.
            lengths: (R,) length of each prompt [tokens], at least 1.
        """
        outputs = self._neutral.prefill(rows, prompts, lengths)
        if not self.is_shared:  # both streams read prompts without gates
            self._gated.copy_rows(self._neutral, rows, lengths - 1)
        if not hasattr(self, "latest"):
            self.latest = StreamOutput(*(output.clone() for output in outputs.newest))
        for present, new in zip(self.latest, outputs.newest, strict=True):
            present.index_copy_(0, rows, new)
        return outputs

    def copy_rows(self, other: TwoStreams, rows: Tensor) -> None:
        """Copies rows (N,) of `other`, streams of the same model: row i becomes row ``rows[i]`` of `other`."""
        places = torch.arange(len(rows), device=rows.device)
        self._neutral.copy_rows(other._neutral, places, other._neutral.lengths[rows], rows)
        if not self.is_shared:
            self._gated.copy_rows(other._gated, places, other._gated.lengths[rows], rows)
        for present, new in zip(self.latest, other.latest, strict=True):
            present.copy_(new[rows])

    def state(self) -> dict[str, Tensor]:
        """State of both streams: the tensors themselves, not copies; see :class:`lm.streams.DecodingStream`."""
        streams = {"neutral": self._neutral.state(), "latest": self.latest._asdict()}
        return joined(**streams) if self.is_shared else joined(**streams, gated=self._gated.state())

    def gated_logits(self, newest: Tensor, gates: Tensor, focus_bias: Tensor, *, keep: bool = True) -> Tensor:
        """Reads the newest tokens (N,) under gates (N, 3) and focus bias (N,); returns the gated logits (N, V).

        The caller may overwrite the logits. They are valid until the stream reads again.

        Args:
            keep: whether to keep the read tokens; False leaves the stream unchanged, for hypothetical actions.
        """
        if self.is_shared:
            return self.latest.logits.clone()
        read = self._gated.step if keep else self._gated.peek
        return read(newest, gates if self._has_gates else None, focus_bias if self._has_focus else None).logits

    def catch_up(self, lengths: Tensor) -> None:
        """Copies the neutral stream's cache of all but the newest token to the gated stream; `lengths` (N,)."""
        if not self.is_shared:
            self._gated.copy_rows(self._neutral, torch.arange(len(lengths), device=lengths.device), lengths - 1)

    def advance(self, tokens: Tensor) -> None:
        """Reads the drawn tokens (N,) into the neutral stream."""
        self.latest = self._neutral.step(tokens)


def surprisal(output: StreamOutput, tokens: Tensor) -> Tensor:
    """Surprisal -log p (R,) [nats] of tokens (R,) after outputs (R, ...)."""
    return torch.nn.functional.cross_entropy(output.logits, tokens, reduction="none")
