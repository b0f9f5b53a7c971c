from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm.models.bundle import load_bundle
from lm.models.reference_statistics import FILE_NAME, ReferenceStatistics
from tidal_gym.envs.text.prompts import read_openings

Tidal = Callable[..., Any]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of a hundred short documents."""
    path = tmp_path_factory.mktemp("data") / "text.txt"
    path.write_text("\n<|endoftext|>\n".join(read_openings("train")[:100]), encoding="utf-8")
    return path


def test_pretrain_from_a_preset_then_generate(tidal: Tidal, text: Path, tmp_path: Path) -> None:
    preset = Path(__file__).parents[3] / "configs" / "pretrain" / "smoke.yaml"
    arguments = (
        "pretrain", "--config", preset, "--output", tmp_path / "run", "--data.train", text, "--data.validation=null",
        "--data.cache_dir", tmp_path / "cache", "--data.vocab_size", 280, "--model.hidden_size", 32,
        "--model.num_hidden_layers", 1, "--model.intermediate_size", 32, "--model.context_length", 64,
        "--training.max_steps", 4, "--training.evaluate_every", 2, "--training.batch_size", 4,
    )  # fmt: skip
    code, out, err = tidal(*arguments)
    assert code == 0
    assert "Bits per byte" in out and f'tidal generate "Once upon a time" --model {tmp_path / "run" / "model"}' in out
    assert "Pretraining: done in" in err and "bits/byte" in err and "tokens/s" in err
    refused = tidal(*arguments)
    assert refused.code == 2 and "already holds a run" in refused.err
    assert tidal("generate", "The", "--model", tmp_path / "run" / "model", "--max_tokens", 3).code == 0


def test_statistics_make_a_model_folder_usable(tidal: Tidal, model: str, text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    (folder / FILE_NAME).unlink()
    without = tidal("generate", "The", "--model", folder)
    assert without.code == 2 and "tidal statistics --model" in without.err

    code, out, _ = tidal("statistics", "--model", folder, "--data", text, "--held_out", 0.1)
    assert code == 0 and "H*" in out and str(folder / FILE_NAME) in out
    statistics = load_bundle(str(folder)).statistics
    assert 0 < statistics.human_entropy < 6 and int(statistics.unigram_counts.sum()) > 500

    again = tidal("statistics", "--model", folder, "--data", text)
    assert again.code == 2 and "already exists" in again.err


def test_statistics_in_a_file_of_their_own(tidal: Tidal, model: str, text: Path, tmp_path: Path) -> None:
    target = tmp_path / "statistics.safetensors"
    code, out, _ = tidal("statistics", "--model", model, "--data", text, "--output", target)
    assert code == 0 and ReferenceStatistics.load(target).vocab_size == 300
    assert f"--env.statistics {target}" in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--held_out", "1"], "`held_out` must lie between 0 and 1. Received 1.0."),
        (["--output", "nowhere/statistics.safetensors"], "`output` must name a file in an existing folder"),
    ],
)
def test_bad_options(tidal: Tidal, model: str, text: Path, options: list[str], says: str) -> None:
    code, _, err = tidal("statistics", "--model", model, "--data", text, *options)
    assert code == 2 and says in err
