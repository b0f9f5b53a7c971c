"""Opens decoding streams: the fast stream for a GatedTransformer, the general one for other causal LMs."""

from __future__ import annotations

from transformers import PreTrainedModel

from lm.models.gated_transformer import GatedTransformer
from lm.streams.cached import TransformersStream
from lm.streams.gated import GatedStream
from lm.streams.protocol import DecodingStream, PromptOutput, StreamOutput
from lm.streams.self_test import require_token_by_token

__all__ = ["DecodingStream", "PromptOutput", "StreamOutput", "accepts_gates", "open_stream"]


def accepts_gates(model: PreTrainedModel) -> bool:
    """Whether the model accepts gate signals."""
    return isinstance(model, GatedTransformer) and model.config.gated


def open_stream(model: PreTrainedModel, num_rows: int, capacity: int) -> DecodingStream:
    """Opens a stream of `num_rows` empty rows with a capacity of `capacity` tokens each.

    The first stream of a model, and each longer one, runs the self-test :mod:`lm.streams.self_test`: predictions token
    by token must equal those for whole texts.

    Raises:
        InvalidValueError: `capacity` exceeds the model's sliding attention window.
        ModelFolderError: the model cannot be read token by token; names its architecture.
    """
    require_token_by_token(model, capacity, _open, ours=isinstance(model, GatedTransformer))
    return _open(model, num_rows, capacity)


def _open(model: PreTrainedModel, num_rows: int, capacity: int) -> DecodingStream:
    if isinstance(model, GatedTransformer):
        return GatedStream(model, num_rows, capacity)
    return TransformersStream(model, num_rows, capacity)
