"""The fast decoding stream: one token of every row through a GatedTransformer, without transformers' general path."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache

from lm.gated_transformer import NEUTRAL_GATES, Block, GatedTransformer, rotary_cos_sin
from lm.stream import PromptOutput, StreamOutput, attention_bias, stream_output


class GatedStream:
    """Static cache (L, 2, N, H, S, head_dim) sized to the longest text; see :class:`lm.stream.DecodingStream`.

    The gates of all blocks are computed in one product, the attention bias once for all layers, and attention reads
    only as many slots as the longest row has. Attention is two batched products and a softmax: for a single query a
    row, that takes less time on a CPU than the fused kernel.
    """

    def __init__(self, model: GatedTransformer, num_rows: int, capacity: int) -> None:
        config = model.config
        self.model = model
        self._blocks = cast("list[Block]", list(model.blocks))
        self.num_rows = num_rows
        self.capacity = capacity
        weights = model.token_embedding.weight
        self._cache = weights.new_zeros(
            (config.num_hidden_layers, 2, num_rows, config.num_attention_heads, capacity, config.head_dim)
        )
        self._keys, self._values = self._cache.unbind(1)
        self._lengths = torch.zeros(num_rows, dtype=torch.int64, device=weights.device)
        self._rows_twice = torch.arange(2 * num_rows, device=weights.device)  # of the keys, then of the values
        self._slots = torch.arange(capacity, device=weights.device)
        self._rotary: tuple[Tensor, Tensor] | None = None
        if config.position_embedding_type == "rotary":
            cos, sin = rotary_cos_sin(self._slots[None], config.head_dim, config.rope_theta, weights.dtype)
            self._rotary = (cos[0, 0], sin[0, 0])  # (S, head_dim)
        if config.gated:
            gates = [gate for block in self._blocks for gate in (block.attention_gate, block.ffn_gate)]
            self._gate_expand = torch.cat([gate.expand.weight for gate in gates])  # (2L * hidden, G)
            self._gate_project = torch.stack([gate.project.weight.T for gate in gates])  # (2L, hidden, D)
            self._gate_bias = torch.stack([gate.project.bias for gate in gates])[:, None]  # (2L, 1, D)
            self._neutral = weights.new_tensor(NEUTRAL_GATES)

    @torch.inference_mode()
    def prefill(self, rows: Tensor, tokens: Tensor, lengths: Tensor) -> PromptOutput:
        """See :class:`lm.stream.DecodingStream`."""
        num_tokens = tokens.shape[1]
        cache = DynamicCache(config=self.model.config)
        output = self.model(
            input_ids=tokens, past_key_values=cache, use_cache=True, output_hidden_states=True, logits_to_keep=1
        )
        for layer, read in enumerate(cache.layers):
            self._keys[layer, rows, :, :num_tokens] = read.keys
            self._values[layer, rows, :, :num_tokens] = read.values
        self._lengths[rows] = lengths
        hidden = output.hidden_states[-1]
        places = ((torch.arange(len(rows), device=rows.device), (lengths - back).clamp(min=0)) for back in (2, 1))
        return PromptOutput(*(self._output(hidden[place]) for place in places))

    @torch.inference_mode()
    def adopt(self, other: GatedStream, rows: Tensor, lengths: Tensor) -> None:
        """See :class:`lm.stream.DecodingStream`."""
        used = int(lengths.max())
        self._cache[:, :, rows, :, :used] = other._cache[:, :, rows, :, :used]
        self._lengths[rows] = lengths

    def step(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """See :class:`lm.stream.DecodingStream`."""
        output = self.peek(tokens, gates, focus_bias)
        self._lengths.add_(1).clamp_(max=self.capacity - 1)
        return output

    @torch.inference_mode()
    def peek(self, tokens: Tensor, gates: Tensor | None = None, focus_bias: Tensor | None = None) -> StreamOutput:
        """See :class:`lm.stream.DecodingStream`."""
        model, config = self.model, self.model.config
        num_rows, heads, head_dim = self.num_rows, config.num_attention_heads, config.head_dim
        used = int(self._lengths.max()) + 1
        hidden = model.token_embedding(tokens)  # (N, D)
        if self._rotary is None:
            hidden = hidden + model.position_embedding(self._lengths)
        else:
            cos, sin = (table[self._lengths][:, None, None] for table in self._rotary)  # (N, 1, 1, head_dim)
        bias = attention_bias(self._lengths, self._slots[:used], focus_bias, hidden.dtype)
        bias = bias[:, None].expand(-1, heads, -1).reshape(num_rows * heads, 1, used)
        slots = self._lengths.repeat(2)
        scales = self._gate_scales(gates) if gates is not None else None

        for layer, block in enumerate(self._blocks):
            qkv = block.attention.qkv(block.attention_norm(hidden)).view(num_rows, 3, heads, head_dim)
            if self._rotary is not None:
                first, second = qkv[:, :2].chunk(2, dim=-1)
                qkv[:, :2] = qkv[:, :2] * cos + torch.cat((-second, first), dim=-1) * sin
            cache = self._cache[layer].flatten(0, 1)  # (2N, H, S, head_dim)
            cache[self._rows_twice, :, slots] = qkv[:, 1:].transpose(0, 1).flatten(0, 1)
            keys, values = (self._cache[layer, part].flatten(0, 1)[:, :used] for part in (0, 1))  # (N * H, S, head_dim)
            query = qkv[:, 0].reshape(num_rows * heads, 1, head_dim)
            scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=head_dim**-0.5)
            mixed = torch.bmm(scores.softmax(dim=-1), values)  # (N * H, 1, head_dim)
            branch = block.attention.out(mixed.reshape(num_rows, -1))
            hidden = hidden + (branch if scales is None else branch * scales[2 * layer])
            branch = block.ffn(block.ffn_norm(hidden))
            hidden = hidden + (branch if scales is None else branch * scales[2 * layer + 1])
        return self._output(model.final_norm(hidden))

    def _gate_scales(self, gates: Tensor) -> Tensor:
        """Scales (2L, N, D) of all branches for gate signals (N, G), by the formula of ``DynamicGate``."""
        num_gates, width, _ = self._gate_project.shape
        expanded = F.relu(F.linear(gates.to(self._neutral.dtype) - self._neutral, self._gate_expand))
        expanded = expanded.view(len(gates), num_gates, width).transpose(0, 1)  # (2L, N, hidden)
        scales = torch.sigmoid(torch.baddbmm(self._gate_bias, expanded, self._gate_project))
        return scales / torch.sigmoid(self._gate_bias)

    def _output(self, hidden: Tensor) -> StreamOutput:
        return stream_output(self.model.lm_head(hidden), hidden)
