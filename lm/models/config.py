"""Configuration of a new model's architecture and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lm.checks import COUNT, Bounds, check_fields, require, require_one_of


@dataclass(frozen=True)
class ModelConfig:
    """Configuration of a new model: architecture and size."""

    family: Literal["gated", "gpt2"] = "gated"
    """Model family: `gated`, the GatedTransformer, or `gpt2`, transformers' GPT-2 without gates, for comparison."""

    hidden_size: int = 192
    """Width of the residual stream."""

    num_hidden_layers: int = 4
    """Number of blocks."""

    num_attention_heads: int = 6
    """Heads per block; must divide `hidden_size`."""

    intermediate_size: int = 768
    """Width of the feed-forward layers."""

    context_length: int = 256
    """Context length, also the length of training windows [tokens]."""

    position_embedding_type: Literal["rotary", "learned"] = "rotary"
    """Position embeddings of a `gated` model (`gpt2` has learned ones)."""

    hidden_act: str = "gelu"
    """Activation of the feed-forward layers: "gelu", "relu" or "silu"."""

    gated: bool = True
    """Whether a `gated` model has gates; False gives a plain transformer of the same shape."""

    tie_word_embeddings: bool = True
    """Whether the output layer shares the embedding matrix."""

    head_bias: bool = False
    """Whether the output layer of a `gated` model has a bias."""

    dropout: float = 0.0
    """Dropout rate on embeddings and residual branches, in [0, 1)."""

    def __post_init__(self) -> None:
        sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "context_length")
        check_fields(self, "model", **dict.fromkeys(sizes, COUNT), dropout=Bounds(0, 1, is_open_above=True))
        if self.hidden_act not in ("gelu", "relu", "silu"):  # transformers takes seconds to import
            from transformers.activations import ACT2FN

            require_one_of("model.hidden_act", self.hidden_act, sorted(ACT2FN))
        rule = f"must be divisible by `model.num_attention_heads` ({self.num_attention_heads})"
        require("model.hidden_size", rule, self.hidden_size, self.hidden_size % self.num_attention_heads == 0)
