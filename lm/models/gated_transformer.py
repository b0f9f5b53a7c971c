"""The gated transformer: a causal LM whose residual branches are scaled by three gate signals.

The file defines the parts first: gate, attention, block, model. The model is an ordinary transformers model
(``from_pretrained``, ``generate``, ``Trainer``, peft, TRL), registered with the Auto classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel, initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import can_return_tuple

# Relative imports: transformers copies the files that they name beside the weights, for other programs to load.
from .attention import apply_rotary, eager_attention, focus_position_bias, rotary_cos_sin
from .gate_names import NEUTRAL_GATES
from .gated_transformer_config import GatedTransformerConfig
from .invalid_value import InvalidValueError


class BranchOutput(nn.Linear):
    """Last layer of a residual branch: initialised smaller with depth, as in GPT-2, to keep the stream's variance."""


class GateInput(nn.Linear):
    """First layer of a gate: initialised by its fan-in, not by the model's `initializer_range`."""


class GateOutput(nn.Linear):
    """Last layer of a gate: weight 0 and bias 2 at initialisation, so that a new gate scales by 1."""


class DynamicGate(nn.Module):
    """Per-channel scale of a residual branch, set by the gate signals.

    ``scale = sigmoid(W2 relu(W1 (g - neutral)) + b2) / sigmoid(b2)`` with W2 zero and b2 = 2 at initialisation. At
    neutral gates the inner product is 0 and the quotient exactly 1: neutral gates and no gates give the same outputs,
    and the scale is continuous.
    """

    def __init__(self, width: int, hidden_size: int) -> None:
        super().__init__()
        self.expand = GateInput(len(NEUTRAL_GATES), hidden_size, bias=False)
        self.project = GateOutput(hidden_size, width)

    def forward(self, gate_signals: Tensor) -> Tensor:
        """Map gate signals (..., G) in [0, 1] to scales (..., D)."""
        neutral = gate_signals.new_tensor(NEUTRAL_GATES)
        scale = torch.sigmoid(self.project(F.relu(self.expand(gate_signals - neutral))))
        return scale / torch.sigmoid(self.project.bias).to(scale.dtype)


class SelfAttention(nn.Module):
    """Causal multi-head attention with an optional distance bias."""

    is_causal = True

    def __init__(self, config: GatedTransformerConfig, layer_index: int) -> None:
        super().__init__()
        self.config = config
        self.layer_index = layer_index
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = BranchOutput(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        attention_mask: Tensor | None,
        position_bias: Tensor | None,
        past_key_values: Cache | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from hidden (B, T, D) to all keys so far; returns (B, T, D) and, if eager, the weights."""
        batch, length, width = hidden.shape
        # (B, T, 3D) -> 3 x (B, H, T, head_dim)
        query, key, value = self.qkv(hidden).view(batch, length, 3, -1, self.config.head_dim).permute(2, 0, 3, 1, 4)
        if rotary is not None:  # in the data type of the queries, which depends on autocast
            rotary = rotary[0].to(query.dtype), rotary[1].to(query.dtype)
            query, key = apply_rotary(query, *rotary), apply_rotary(key, *rotary)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_index)
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        mixed, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            scaling=self.config.head_dim**-0.5,
            dropout=0.0,
            position_bias=position_bias,
        )
        return self.out(mixed.reshape(batch, length, width)), weights


class FeedForward(nn.Module):
    """Feed-forward network: two linear layers with an activation between them."""

    def __init__(self, config: GatedTransformerConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.project = BranchOutput(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return self.project(self.activation(self.expand(hidden)))


class Block(GradientCheckpointingLayer):
    """Pre-norm block: x + gate_a(g) attention(norm(x)), then x + gate_f(g) ffn(norm(x))."""

    def __init__(self, config: GatedTransformerConfig, layer_index: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = SelfAttention(config, layer_index)
        self.ffn_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.ffn = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)
        if config.gated:
            self.attention_gate = DynamicGate(config.hidden_size, config.gate_hidden_size)
            self.ffn_gate = DynamicGate(config.hidden_size, config.gate_hidden_size)

    def forward(
        self,
        hidden: Tensor,
        gate_signals: Tensor | None,
        rotary: tuple[Tensor, Tensor] | None,
        attention_mask: Tensor | None,
        position_bias: Tensor | None,
        past_key_values: Cache | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Map hidden (B, T, D) to (B, T, D); gate_signals (B, S, G), S dividing T, or None for unit scaling."""
        branch, weights = self.attention(
            self.attention_norm(hidden), rotary, attention_mask, position_bias, past_key_values
        )
        if gate_signals is not None:
            branch = _scale_segments(branch, self.attention_gate(gate_signals))
        hidden = hidden + self.dropout(branch)
        branch = self.ffn(self.ffn_norm(hidden))
        if gate_signals is not None:
            branch = _scale_segments(branch, self.ffn_gate(gate_signals))
        return hidden + self.dropout(branch), weights


def _scale_segments(branch: Tensor, scale: Tensor) -> Tensor:
    """Scale each of S equal segments of branch (B, T, D) by its row of scale (B, S, D)."""
    segments = branch.unflatten(1, (scale.shape[1], -1))  # (B, S, T / S, D)
    return (segments * scale[:, :, None]).flatten(1, 2)


class GatedTransformer(PreTrainedModel, GenerationMixin):
    """Decoder-only causal LM with gates; :meth:`forward` lists its inputs."""

    config_class = GatedTransformerConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]
    _supports_sdpa = True
    _supports_attention_backend = True
    _tied_weights_keys = {"lm_head.weight": "token_embedding.weight"}

    def __init__(self, config: GatedTransformerConfig) -> None:
        config.validate()
        super().__init__(config)
        self.loss_type = "ForCausalLM"
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.position_embedding_type == "learned":
            self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.num_hidden_layers))
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=config.head_bias)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.token_embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.token_embedding = value

    def get_output_embeddings(self) -> nn.Module:
        """The output layer."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the output layer."""
        self.lm_head = new_embeddings

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        # By leaf type: transformers skips `_init_weights` for modules of custom models that own no parameters directly.
        if isinstance(module, GateInput):
            init.kaiming_uniform_(module.weight, nonlinearity="relu")
        if isinstance(module, GateOutput):
            init.zeros_(module.weight)
            init.constant_(module.bias, 2.0)
        if isinstance(module, BranchOutput):
            init.normal_(module.weight, std=self.config.initializer_range / (2 * self.config.num_hidden_layers) ** 0.5)

    @property
    def base_model(self) -> Body:
        """The model without its output layer, which TRL uses to compute logits for some positions only."""
        return Body(self)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        gate_signals: Tensor | None = None,
        focus_bias: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: object,
    ) -> CausalLMOutputWithPast:
        """Compute logits (B, T, V), and the loss [nats per token] where `labels` are given.

        Args:
            input_ids: (B, T) token ids, or `inputs_embeds` (B, T, D) in their place.
            attention_mask: (B, S) 1 for real tokens, 0 for padding; S counts cached tokens too.
            position_ids: (B, T); by default each token's index among the real tokens of its row.
            past_key_values: transformers cache of the previous tokens.
            gate_signals: (B, G) for the whole sequence, or (B, S, G) for S segments of equal length (S = T: per token),
                in [0, 1]; None is unit scaling.
            focus_bias: (B,) or (B, T), strength of the bias towards near keys (see :func:`focus_position_bias`).
            labels: (B, T) token ids, shifted inside; -100 is ignored.
            use_cache: whether to return a cache; `config.use_cache` by default.
            logits_to_keep: number of last positions, or the positions, to compute logits for (0: all).

        Raises:
            InvalidValueError: the model has no gates, or a sequence exceeds the context length.
        """
        output = self.read(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            gate_signals=gate_signals,
            focus_bias=focus_bias,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(output.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )

    def read(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        gate_signals: Tensor | None = None,
        focus_bias: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: object,
    ) -> BaseModelOutputWithPast:
        """The hidden states (B, T, D) after the last norm; arguments and errors are those of :meth:`forward`."""
        if gate_signals is not None and not self.config.gated:
            raise InvalidValueError("gate_signals", "must be None for a model without gates", tuple(gate_signals.shape))
        if (input_ids is None) == (inputs_embeds is None):
            raise InvalidValueError("input_ids", "or else `inputs_embeds` must be given, one of the two", input_ids)
        hidden = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)

        past_length = past_key_values.get_seq_length() if past_key_values is not None else 0
        num_keys = past_length + hidden.shape[1]
        if num_keys > self.config.max_position_embeddings:
            rule = f"must have at most `max_position_embeddings` ({self.config.max_position_embeddings}) tokens"
            raise InvalidValueError("input_ids", rule, num_keys)
        if position_ids is None:
            if attention_mask is not None and attention_mask.dim() == 2:
                places = attention_mask.long().cumsum(dim=-1) - 1  # (B, S)
                position_ids = places.clamp(min=0)[:, past_length:num_keys]
            else:
                position_ids = torch.arange(past_length, num_keys, device=hidden.device)[None]
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=hidden,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        rotary = position_bias = None
        if self.config.position_embedding_type == "learned":
            hidden = hidden + self.position_embedding(position_ids)
        else:
            rotary = rotary_cos_sin(position_ids, self.config.head_dim, self.config.rope_theta, hidden.dtype)
        if focus_bias is not None:
            position_bias = focus_position_bias(focus_bias, position_ids, num_keys).to(hidden.dtype)
        if gate_signals is not None:
            gate_signals = gate_signals.to(hidden.dtype)
            if gate_signals.dim() == 2:
                gate_signals = gate_signals[:, None]

        hidden = self.dropout(hidden)
        all_hidden, all_weights = [hidden], []
        for block in self.blocks:
            hidden, weights = block(hidden, gate_signals, rotary, mask, position_bias, past_key_values)
            all_hidden.append(hidden)
            all_weights.append(weights)
        all_hidden[-1] = hidden = self.final_norm(hidden)
        return BaseModelOutputWithPast(
            last_hidden_state=hidden,
            past_key_values=past_key_values if use_cache else None,
            hidden_states=tuple(all_hidden) if output_hidden_states else None,
            attentions=tuple(all_weights) if output_attentions else None,
        )


class Body:
    """A :class:`GatedTransformer` without its output layer; no torch module, so that weights keep their names."""

    _tp_plan = _pp_plan = None  # transformers reads plans of tensor and pipeline parallelism

    def __init__(self, model: GatedTransformer) -> None:
        self._model = model

    def __call__(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPast:
        """:meth:`GatedTransformer.read`."""
        return self._model.read(*args, **kwargs)


# `save_pretrained` writes this code and an `auto_map` beside the weights.
GatedTransformer.register_for_auto_class("AutoModelForCausalLM")
if not __name__.startswith("transformers_modules."):  # a copy beside weights does not replace the package's class
    AutoModelForCausalLM.register(GatedTransformerConfig, GatedTransformer)
