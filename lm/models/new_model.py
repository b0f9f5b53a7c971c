"""Builds a new model from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerBase

from lm.memory import require_memory
from lm.models.config import ModelConfig
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig


def require_memory_to_train(
    config: ModelConfig, vocab_size: int, batch_size: int, *, vocabulary: str = "data.vocab_size"
) -> None:
    """Check that a new model, its gradients, Adam's state and the logits of a batch fit into the free memory.

    Args:
        config: configuration of the model.
        vocab_size: V, number of tokens.
        batch_size: windows per forward pass.
        vocabulary: name of the option that sets the number of tokens.

    Raises:
        InvalidValueError: a size does not fit, even with those checked before it alone.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    width, inner, blocks = config.hidden_size, config.intermediate_size, config.num_hidden_layers

    def needed(width: int, inner: int = 1, tokens: int = 1, blocks: int = 1) -> int:
        return 16 * (blocks * (4 * width**2 + 2 * width * inner) + tokens * width)

    def check(name: str, value: int, needed: Callable[[int], int]) -> None:
        require_memory(name, value, "training the model", needed, device)

    check("model.hidden_size", width, needed)
    check("model.intermediate_size", inner, lambda inner: needed(width, inner))
    check(vocabulary, vocab_size, lambda tokens: needed(width, inner, tokens))
    check("model.num_hidden_layers", blocks, lambda blocks: needed(width, inner, vocab_size, blocks))
    model = needed(width, inner, vocab_size, blocks)
    row = 8 * (vocab_size + blocks * width)  # logits and activations of a token, with their gradients
    check("model.context_length", config.context_length, lambda length: model + row * length)
    batch = row * config.context_length
    check("training.batch_size", batch_size, lambda windows: model + batch * windows)


def build_model(config: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A new model of the configured family for a tokenizer's vocabulary."""
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if config.family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=len(tokenizer),
                n_positions=config.context_length,
                n_embd=config.hidden_size,
                n_layer=config.num_hidden_layers,
                n_head=config.num_attention_heads,
                n_inner=config.intermediate_size,
                activation_function=config.hidden_act,
                resid_pdrop=config.dropout,
                embd_pdrop=config.dropout,
                attn_pdrop=0.0,
                tie_word_embeddings=config.tie_word_embeddings,
                **tokens,
            )
        )
    shape = asdict(config)  # all other fields have the same names in GatedTransformerConfig
    del shape["family"]
    length = shape.pop("context_length")
    tokens["pad_token_id"] = tokenizer.pad_token_id
    return GatedTransformer(
        GatedTransformerConfig(vocab_size=len(tokenizer), max_position_embeddings=length, **shape, **tokens)
    )
