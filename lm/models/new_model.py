"""Builds a new model from its configuration."""

from __future__ import annotations

from dataclasses import asdict

from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerBase

from lm.models.config import ModelConfig
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig


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
