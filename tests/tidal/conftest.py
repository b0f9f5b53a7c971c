from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from lm.models.bundle import save_bundle
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig
from lm.models.reference_statistics import ReferenceStatistics
from lm.tokenizers.tokenization import train_bpe
from tidal.cli.main import main
from tidal_gym.envs.prompts import read_openings

VOCABULARY = 300


class Finished(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


@pytest.fixture
def tidal(capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs the command line in this process."""

    def run(*arguments: object) -> Finished:
        code = main([str(argument) for argument in arguments])
        return Finished(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny random bundle with effective gates."""
    return save_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


def save_tiny_bundle(folder: Path) -> str:
    torch.manual_seed(0)
    openings = read_openings("train")[:50]
    tokenizer = train_bpe(openings, VOCABULARY)
    model = GatedTransformer(
        GatedTransformerConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=96,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
    tokens = np.concatenate([tokenizer(opening)["input_ids"] for opening in openings])
    save_bundle(folder, model, tokenizer, ReferenceStatistics.from_tokens(tokens, VOCABULARY, human_entropy=3.0))
    return str(folder)
