"""Fast decoding stream of a GatedTransformer, independent of transformers' forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from lm.models.attention import rotary_cos_sin
from lm.models.gate_names import NEUTRAL_GATES
from lm.models.gated_transformer import Block, GatedTransformer
from lm.streams.prepared_linear import prepared_linear
from lm.streams.protocol import PromptOutput, StreamOutput, attention_bias, stream_output

_Attention = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Attention of one layer: maps its index and new queries, keys, values (M, H, head_dim) to its output (M, D)."""


class GatedStream:
    """Static cache (L, 2, N * H, S, head_dim) of S slots for every row; see :class:`lm.streams.DecodingStream`.

    A step has fixed shapes and does not synchronise, so that a CUDA graph can record it. Attention is two batched
    products over all S slots and a softmax. For one query per row this is faster on a CPU than the fused kernel and
    than products over the filled slots only, since a slice of a batch of matrices is copied before multiplication.
    """

    def __init__(self, model: GatedTransformer, num_rows: int, capacity: int) -> None:
        config = model.config
        self.model = model
        self.num_rows = num_rows
        self.capacity = capacity
        self._blocks = cast("list[Block]", list(model.blocks))
        self._heads, self._head_dim = config.num_attention_heads, config.head_dim
        weights = model.token_embedding.weight
        device = weights.device
        self._cache = weights.new_zeros(
            (config.num_hidden_layers, 2, num_rows * self._heads, capacity, config.head_dim)
        )
        self._by_row = self._cache.unflatten(2, (num_rows, self._heads))  # (L, 2, N, H, S, head_dim)
        self._keys_values = [tuple(layer.unbind(0)) for layer in self._cache]  # L pairs of (N * H, S, head_dim)
        self._slots_flat = [layer.flatten(0, 2) for layer in self._cache]  # L of (2 * N * H * S, head_dim)
        self._first_slots = torch.arange(2 * num_rows * self._heads, device=device).view(2, num_rows, -1) * capacity
        self.lengths = torch.zeros(num_rows, dtype=torch.int64, device=device)
        self._slots = torch.arange(capacity, device=device)
        self._linears = [
            [prepared_linear(layer, num_rows)
             for layer in (block.attention.qkv, block.attention.out, block.ffn.expand, block.ffn.project)]
            for block in self._blocks
        ]  # fmt: skip
        self._head = prepared_linear(model.lm_head, num_rows)
        # Written in place: allocating arrays of the vocabulary's size costs more than writing them.
        self._output = stream_output(
            weights.new_empty(num_rows, config.vocab_size), weights.new_empty(num_rows, config.hidden_size)
        )
        self._rotary: tuple[Tensor, Tensor] | None = None
        if config.position_embedding_type == "rotary":
            cos, sin = rotary_cos_sin(self._slots[None], config.head_dim, config.rope_theta, weights.dtype)
            # The sine contains the sign of the rotation: a rotation is x cos + roll(x) sin.
            sign = torch.ones_like(sin[0, 0, 0])
            sign[: config.head_dim // 2] = -1.0
            self._rotary = (cos[0, 0], sin[0, 0] * sign)  # (S, head_dim)
        if config.gated:
            gates = [gate for block in self._blocks for gate in (block.attention_gate, block.ffn_gate)]
            self._gate_expand = torch.cat([gate.expand.weight for gate in gates])  # (2L * hidden, G)
            self._gate_project = torch.stack([gate.project.weight.T for gate in gates])  # (2L, hidden, D)
            self._gate_bias = torch.stack([gate.project.bias for gate in gates])[:, None]  # (2L, 1, D)
            self._neutral = weights.new_tensor(NEUTRAL_GATES)

    @torch.inference_mode()
    def prefill(self, rows: Tensor, tokens: Tensor, lengths: Tensor) -> PromptOutput:
        """See :class:`lm.streams.DecodingStream`."""
        num_rows, num_tokens = tokens.shape

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            query, key, value = (
                states.unflatten(0, (num_rows, num_tokens)).transpose(1, 2) for states in (query, key, value)
            )  # (R, H, P, head_dim)
            self._by_row[layer, 0, rows, :, :num_tokens] = key
            self._by_row[layer, 1, rows, :, :num_tokens] = value
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            return mixed.transpose(1, 2).reshape(num_rows * num_tokens, -1)

        positions = self._slots[:num_tokens].repeat(num_rows)
        hidden = self._read(tokens.flatten(), positions, None, attend).unflatten(0, (num_rows, num_tokens))
        self.lengths[rows] = lengths
        # The last two positions of every row in one product, since each product reads the output layer from memory.
        places = (lengths + lengths.new_tensor([[-2], [-1]])).clamp(min=0)  # (2, R)
        hidden = hidden[torch.arange(num_rows, device=rows.device), places]  # (2, R, D)
        logits = self._head(hidden.flatten(0, 1)).unflatten(0, (2, num_rows))
        return PromptOutput(*map(stream_output, logits, hidden))

    @torch.inference_mode()
    def copy_rows(self, other: GatedStream, rows: Tensor, lengths: Tensor, other_rows: Tensor | None = None) -> None:
        """See :class:`lm.streams.DecodingStream`."""
        used = int(lengths.max())
        source = rows if other_rows is None else other_rows
        self._by_row[:, :, rows, :, :used] = other._by_row[:, :, source, :, :used]
        self.lengths[rows] = lengths

    def state(self) -> dict[str, Tensor]:
        """See :class:`lm.streams.DecodingStream`."""
        return {"cache": self._cache, "lengths": self.lengths}

    def step(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """See :class:`lm.streams.DecodingStream`."""
        output = self.peek(tokens, gates, focus_bias)
        self.lengths.add_(1).clamp_(max=self.capacity - 1)
        return output

    @torch.inference_mode()
    def peek(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """See :class:`lm.streams.DecodingStream`."""
        bias = attention_bias(self.lengths, self._slots, focus_bias, self._cache.dtype)
        bias = bias[:, None].expand(-1, self._heads, -1).reshape(-1, 1, self.capacity)  # (N * H, 1, S)
        newest = (self._first_slots + self.lengths[:, None]).flatten()  # (2 * N * H,)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            # Slots beyond a row's text are overwritten before they are read.
            self._slots_flat[layer].index_copy_(0, newest, torch.stack((key, value)).flatten(0, 2))
            keys, values = self._keys_values[layer]
            query = query.reshape(-1, 1, self._head_dim)
            scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=self._head_dim**-0.5)
            return torch.bmm(scores.softmax(dim=-1), values).view(self.num_rows, -1)

        hidden = self._read(tokens, self.lengths, gates, attend)
        self._output.logits.copy_(self._head(hidden))
        self._output.hidden.copy_(hidden)
        return self._output

    def _read(self, tokens: Tensor, positions: Tensor, gates: Tensor | None, attend: _Attention) -> Tensor:
        """Final hidden states (M, D) of tokens (M,) at positions (M,), with gates (M, G) or None."""
        model = self.model
        hidden = model.token_embedding(tokens)
        if self._rotary is None:
            hidden = hidden + model.position_embedding(positions)
        else:
            cos, sin = (table[positions][:, None, None] for table in self._rotary)  # (M, 1, 1, head_dim)
        scales = self._gate_scales(gates) if gates is not None else None
        for layer, (block, (qkv_of, out, expand, project)) in enumerate(zip(self._blocks, self._linears, strict=True)):
            qkv = qkv_of(block.attention_norm(hidden)).unflatten(1, (3, self._heads, -1))
            query_key, value = qkv[:, :2], qkv[:, 2]
            if self._rotary is not None:
                query_key = torch.addcmul(query_key * cos, query_key.roll(self._head_dim // 2, dims=-1), sin)
            branch = out(attend(layer, query_key[:, 0], query_key[:, 1], value))
            hidden = hidden + branch if scales is None else torch.addcmul(hidden, branch, scales[2 * layer])
            branch = project(block.ffn.activation(expand(block.ffn_norm(hidden))))
            hidden = hidden + branch if scales is None else torch.addcmul(hidden, branch, scales[2 * layer + 1])
        return model.final_norm(hidden)

    def _gate_scales(self, gates: Tensor) -> Tensor:
        """Scales (2L, N, D) of all branches for gate signals (N, G), by the formula of ``DynamicGate``."""
        num_gates, width, _ = self._gate_project.shape
        expanded = F.relu(F.linear(gates.to(self._neutral.dtype) - self._neutral, self._gate_expand))
        expanded = expanded.view(len(gates), num_gates, width).transpose(0, 1)  # (2L, N, hidden)
        scales = torch.sigmoid(torch.baddbmm(self._gate_bias, expanded, self._gate_project))
        return scales / torch.sigmoid(self._gate_bias)
