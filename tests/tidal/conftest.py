from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import datasets
import huggingface_hub
import numpy as np
import pytest
import torch

from lm.models.bundle import save_bundle
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig
from lm.models.reference_statistics import ReferenceStatistics
from lm.tokenizers.tokenization import train_bpe
from tidal.cli.main import main
from tidal_gym.envs.text.prompts import read_openings

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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was asked of a network that is refused, with the hub's offline mode off, and of other programs."""
    asked: list[object] = []

    def refuse(*arguments: object, **options: object) -> None:
        asked.append(arguments)
        raise OSError("There is no network here.")

    def refuse_program(command: object, *arguments: object, **options: object) -> None:
        if isinstance(command, list) and command[0] in ("git", "uname"):  # which our records and a library ask
            raise OSError("There are no other programs here.")
        refuse(command)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse_program)
    return asked


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: list[object]) -> Iterator[Path]:
    """A folder with a module that would leave a file; neither it nor the network may be asked."""
    (tmp_path / "canary_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    assert asked == [] and not (tmp_path / "ran").exists() and "canary_module" not in sys.modules


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
