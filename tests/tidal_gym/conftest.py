"""A tiny random gated model in a folder, as the environment's tests use it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lm.models.bundle import save_bundle
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig
from lm.models.reference_statistics import ReferenceStatistics
from lm.tokenizers.tokenization import train_bpe
from tidal_gym.envs.vector_env import TidalGatingVectorEnv

VOCABULARY = 300

OPENINGS = (
    "Once upon a time there was a little boat that wanted to see the sea.",
    "The old clock in the kitchen had stopped, and nobody knew why.",
    "Anna found a red door behind the garden wall.",
    "Oh",
)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_bpe([*OPENINGS] * 3, VOCABULARY)


@pytest.fixture(scope="session")
def statistics() -> ReferenceStatistics:
    tokens = np.random.default_rng(5).integers(0, VOCABULARY, 4000) ** 2 // VOCABULARY  # low ids are frequent
    return ReferenceStatistics.from_tokens(tokens, VOCABULARY, human_entropy=3.0)


@pytest.fixture(scope="session")
def save_model(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase, statistics: ReferenceStatistics
) -> Callable[..., str]:
    """Saves a model with tokenizer and statistics, with random weights large enough to matter; returns the folder."""

    def save(model: PreTrainedModel, seed: int = 3, scale: float = 0.4) -> str:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        folder = tmp_path_factory.mktemp("models") / "model"
        save_bundle(folder, model, tokenizer, statistics)
        return str(folder)

    return save


@pytest.fixture(scope="session")
def gated_folder(save_model: Callable[..., str]) -> str:
    """Folder of a gated model: width 52 (chunks of 2 and 3), 2 blocks, context 96; texts end now and then."""
    return save_model(gated_model(end_of_text_bias=4.0))


@pytest.fixture(scope="session")
def endless_folder(save_model: Callable[..., str]) -> str:
    """Folder of the same model, whose texts never end by themselves."""
    return save_model(gated_model(end_of_text_bias=-1000.0))


def gated_model(end_of_text_bias: float) -> GatedTransformer:
    config = GatedTransformerConfig(
        vocab_size=VOCABULARY,
        hidden_size=52,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=96,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = GatedTransformer(config)
    with torch.no_grad():
        model.lm_head.bias[0] = end_of_text_bias
    return model


@pytest.fixture
def make_env(gated_folder: str) -> Callable[..., TidalGatingVectorEnv]:
    """Makes a vector environment on the gated model with the openings above."""

    def make(num_envs: int = 4, kind: type = TidalGatingVectorEnv, **arguments: object) -> TidalGatingVectorEnv:
        defaults: dict = {"model": gated_folder, "prompts": list(OPENINGS), "max_episode_steps": 12, "dtype": "float32"}
        return kind(num_envs, **{**defaults, **arguments})

    return make
