"""Decoding stream for any causal LM of transformers, with transformers' cache classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from lm.errors import InvalidValueError
from lm.models.self_test import refusal
from lm.models.text_config import text_config
from lm.runs.tensors.saved_state import joined
from lm.streams.protocol import PromptOutput, StreamOutput, attention_bias, stream_output


class _RowLayer(CacheLayerMixin):
    """Keys and values (N, H, S, head_dim) of one layer, written at each row's length."""

    def __init__(self, num_rows: int, capacity: int, lengths: Tensor) -> None:
        super().__init__()
        self._num_rows, self._capacity, self._lengths = num_rows, capacity, lengths
        self._rows = torch.arange(num_rows, device=lengths.device)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate once the number of heads and the head size are known."""
        _, num_heads, _, head_dim = key_states.shape
        self.keys = key_states.new_zeros(self._num_rows, num_heads, self._capacity, head_dim)
        self.values = value_states.new_zeros(self._num_rows, num_heads, self._capacity, value_states.shape[-1])
        self.is_initialized = True

    def fill(self, rows: Tensor, keys: Tensor, values: Tensor) -> None:
        """Write a prompt's keys and values (R, H, P, head_dim) at the beginning of rows."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        self.keys[rows, :, : keys.shape[2]] = keys
        self.values[rows, :, : values.shape[2]] = values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values (N, H, 1, head_dim) and return all slots."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys[self._rows, :, self._lengths] = key_states[:, :, 0]
        self.values[self._rows, :, self._lengths] = value_states[:, :, 0]
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of slots, and offset 0."""
        return self._capacity, 0

    def get_seq_length(self) -> int:
        """Longest row [tokens]."""
        return int(self._lengths.max())

    def get_max_length(self) -> int:
        """Number of slots."""
        return self._capacity


class TransformersStream:
    """Stream for any causal LM of transformers that accepts a cache, position ids and a 4D attention mask."""

    def __init__(self, model: PreTrainedModel, num_rows: int, capacity: int) -> None:
        kinds = DynamicCache(config=model.config).layers
        if not all(isinstance(kind, CacheLayerMixin) and hasattr(kind, "keys") for kind in kinds):
            raise refusal(model, "some of its layers keep a recurrent state instead of keys and values")
        windows = [kind.sliding_window for kind in kinds if kind.is_sliding]
        windows.append(getattr(text_config(model), "window_size", None))  # GPT-Neo's, which its cache does not contain
        window = min((window for window in windows if window is not None), default=None)
        if window is not None and capacity >= window:
            rule = f"must be below the {window} tokens of the model's sliding attention window"
            raise InvalidValueError("capacity", rule, capacity, "Take shorter episodes or prompts.")
        self.model = model
        self.num_rows = num_rows
        self.capacity = capacity
        self.lengths = torch.zeros(num_rows, dtype=torch.int64, device=model.device)
        self._slots = torch.arange(capacity, device=model.device)
        self._layers = [_RowLayer(num_rows, capacity, self.lengths) for _ in kinds]

    @torch.inference_mode()
    def prefill(self, rows: Tensor, tokens: Tensor, lengths: Tensor) -> PromptOutput:
        """See :class:`lm.streams.protocol.DecodingStream`."""
        cache = DynamicCache(config=self.model.config)
        output = self.model(input_ids=tokens, past_key_values=cache, use_cache=True, output_hidden_states=True)
        for layer, read in zip(self._layers, cache.layers, strict=True):
            if read.is_initialized:  # layers that share the keys and values of another have none
                layer.fill(rows, read.keys, read.values)
        self.lengths[rows] = lengths
        hidden = output.hidden_states[-1]
        places = ((torch.arange(len(rows), device=rows.device), (lengths - back).clamp(min=0)) for back in (2, 1))
        return PromptOutput(*(stream_output(output.logits[place], hidden[place]) for place in places))

    @torch.inference_mode()
    def copy_rows(
        self, other: TransformersStream, rows: Tensor, lengths: Tensor, other_rows: Tensor | None = None
    ) -> None:
        """See :class:`lm.streams.protocol.DecodingStream`."""
        source = rows if other_rows is None else other_rows
        for layer, read in zip(self._layers, other._layers, strict=True):
            if read.is_initialized:
                layer.fill(rows, read.keys[source], read.values[source])
        self.lengths[rows] = lengths

    def state(self) -> dict[str, Tensor]:
        """See :class:`lm.streams.protocol.DecodingStream`."""
        layers = {str(index): {"keys": layer.keys, "values": layer.values} for index, layer in enumerate(self._layers)}
        return {"lengths": self.lengths, **joined(**layers)}

    def step(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """See :class:`lm.streams.protocol.DecodingStream`."""
        output = self.peek(tokens, gates, focus_bias)
        self.lengths.add_(1).clamp_(max=self.capacity - 1)
        return output

    @torch.inference_mode()
    def peek(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """See :class:`lm.streams.protocol.DecodingStream`. The model has no gates: signals have no effect."""
        bias = attention_bias(self.lengths, self._slots, focus_bias, self.model.dtype)
        output = self.model(
            input_ids=tokens[:, None],
            position_ids=self.lengths[:, None],
            attention_mask=bias[:, None, None],  # (N, 1, 1, S)
            past_key_values=Cache(layers=self._layers),
            use_cache=True,
            output_hidden_states=True,
        )
        return stream_output(output.logits[:, -1], output.hidden_states[-1][:, -1])
