"""Sizes of a model's text part, which the config of a model for text and images holds in a part of its own."""

from __future__ import annotations

from transformers import PreTrainedConfig, PreTrainedModel

from lm.errors import ModelFolderError


def text_config(model: PreTrainedModel) -> PreTrainedConfig:
    """The part of the model's config that describes the language model."""
    return model.config.get_text_config(decoder=True)


def vocab_size_of(model: PreTrainedModel) -> int:
    """V: number of logits."""
    return text_config(model).vocab_size


def context_length_of(model: PreTrainedModel) -> int:
    """Longest sequence that the model takes [tokens].

    Raises:
        ModelFolderError: its config states none.
    """
    length = getattr(text_config(model), "max_position_embeddings", None)
    if length is None:
        raise ModelFolderError(
            f"The model '{model.config.name_or_path}' ({model.config.model_type}) states no context length "
            "(`max_position_embeddings`), without which episodes cannot be sized. Take a model that does."
        )
    return length
