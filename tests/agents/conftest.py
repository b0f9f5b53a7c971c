from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.episodes.env_config import EnvConfig
from lm.models.bundle import save_bundle
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig
from lm.models.reference_statistics import ReferenceStatistics
from lm.tokenizers.tokenization import train_bpe

OPENINGS = [
    "Once upon a time there was a dog",
    "The cat sat on the big red mat",
    "A girl went to the park with her mother",
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random model with effective gates, some near-certain tokens, and occasional ends of text."""
    torch.manual_seed(0)
    tokenizer = train_bpe(OPENINGS * 3, vocab_size=290)
    config = GatedTransformerConfig(
        vocab_size=290,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=96,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = GatedTransformer(config)
    with torch.no_grad():
        for block in model.blocks:
            block.attention_gate.project.weight.normal_()
            block.ffn_gate.project.weight.normal_()
        model.lm_head.weight.normal_(std=0.4)
        model.lm_head.bias.zero_()
        model.lm_head.bias[0] = 3.0
    stream = np.random.default_rng(0).integers(1, 290, 4000)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_bundle(folder, model, tokenizer, ReferenceStatistics.from_tokens(stream, 290, human_entropy=3.0))
    return str(folder)


@pytest.fixture
def tiny_env(tiny_model: str) -> EnvConfig:
    """Short episodes from three openings."""
    return EnvConfig(model=tiny_model, prompts=OPENINGS, max_episode_steps=6)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where a run may be written."""
    return tmp_path / "run"
