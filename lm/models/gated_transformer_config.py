"""Configuration of a gated transformer."""

from __future__ import annotations

from transformers import AutoConfig, PreTrainedConfig

from .invalid_value import InvalidValueError


class GatedTransformerConfig(PreTrainedConfig):
    """Configuration of a :class:`GatedTransformer`.

    Args:
        vocab_size: V, number of tokens.
        hidden_size: D, width of the residual stream.
        num_hidden_layers: number of blocks.
        num_attention_heads: heads per block; must divide `hidden_size`.
        intermediate_size: width of the feed-forward layer.
        max_position_embeddings: context length [tokens].
        position_embedding_type: ``"rotary"`` or ``"learned"``.
        hidden_act: feed-forward activation, a name from transformers.
        gated: whether blocks have gates (:class:`DynamicGate`); otherwise gate signals are an error.
        gate_hidden_size: hidden width of a gate's network.
        dropout: dropout rate on embeddings and on both residual branches.
        head_bias: whether the output layer has a bias.
        tie_word_embeddings: whether the output layer shares the embedding matrix.
    """

    model_type = "gated_transformer"
    keys_to_ignore_at_inference = ["past_key_values"]

    vocab_size: int = 50257
    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    intermediate_size: int = 1024
    max_position_embeddings: int = 256
    position_embedding_type: str = "learned"
    hidden_act: str = "gelu"
    gated: bool = True
    gate_hidden_size: int = 32
    dropout: float = 0.0
    head_bias: bool = True
    tie_word_embeddings: bool = False
    rope_theta: float = 10000.0
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    def validate(self) -> None:
        """Raises :class:`InvalidValueError` if sizes are inconsistent (called when a model is built)."""
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
            if getattr(self, name) < 1:
                raise InvalidValueError(name, "must be at least 1", getattr(self, name))
        if self.hidden_size % self.num_attention_heads:
            rule = f"must be divisible by `num_attention_heads` ({self.num_attention_heads})"
            raise InvalidValueError("hidden_size", rule, self.hidden_size)
        if self.position_embedding_type not in ("rotary", "learned"):
            rule = "must be 'rotary' or 'learned'"
            raise InvalidValueError("position_embedding_type", rule, self.position_embedding_type)
        if self.position_embedding_type == "rotary" and self.head_dim % 2:
            raise InvalidValueError(
                "hidden_size", "must give an even head size with rotary positions", self.hidden_size
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads


# `save_pretrained` writes this code and an `auto_map` beside the weights.
GatedTransformerConfig.register_for_auto_class()
if not __name__.startswith("transformers_modules."):  # a copy beside weights does not replace the package's class
    AutoConfig.register(GatedTransformerConfig.model_type, GatedTransformerConfig)
