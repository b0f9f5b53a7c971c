"""Sizes of a model's language model; the config of a multimodal model has a sub-config for it."""

from __future__ import annotations

from transformers import PreTrainedConfig, PreTrainedModel

from lm.errors import ModelFolderError


def text_config(model: PreTrainedModel) -> PreTrainedConfig:
    """The part of the model's config that describes the language model."""
    return model.config.get_text_config(decoder=True)


def vocab_size_of(model: PreTrainedModel) -> int:
    """Vocabulary size V: number of logits."""
    return text_config(model).vocab_size


def context_length_of(model: PreTrainedModel) -> int:
    """Context length of the model [tokens].

    Raises:
        ModelFolderError: the config has no context length.
    """
    length = getattr(text_config(model), "max_position_embeddings", None)
    if length is None:
        raise ModelFolderError(
            f"The model '{model.config.name_or_path}' ({model.config.model_type}) states no context length "
            "(`max_position_embeddings`), without which episodes cannot be sized. Take a model that does."
        )
    return length
