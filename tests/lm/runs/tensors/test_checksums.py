"""Weights are the ones that were written, byte for byte, wherever a list of checksums says so."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.errors import CheckpointError, InvalidValueError, ModelFolderError
from lm.model_names import BUNDLED_FOLDER, bundled_models
from lm.models.bundle import load_bundle
from lm.models.reference_statistics import ReferenceStatistics
from lm.pretraining.trainer_checkpoints import last_whole_checkpoint
from lm.rlm.grammar import RandomGrammar
from lm.rlm.model_folder import load_grammar_of
from lm.runs.tensors.checksums import FILE_NAME, require_unchanged, write_checksums

_WRITE_A_GRAMMAR = "from lm.rlm.grammar import RandomGrammar; RandomGrammar(5, 2, 1.5, 3).save('grammar.safetensors')"


def flip(path: Path, place: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLED_FOLDER / "rlm-tiny", tmp_path / "model"))


@pytest.mark.parametrize("model", bundled_models())
def test_bundled_models_list_all_their_weights(model: str) -> None:
    files = sorted((BUNDLED_FOLDER / model).glob("*.safetensors"))
    lines = (BUNDLED_FOLDER / model / FILE_NAME).read_text(encoding="utf-8").splitlines()
    assert lines == [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]


def test_a_flipped_bit_is_refused(folder: Path) -> None:
    load_bundle(str(folder))
    flip(folder / "model.safetensors")
    with pytest.raises(ModelFolderError, match=r"model\.safetensors is damaged: its checksum is not the one in SHA256"):
        load_bundle(str(folder))
    flip(folder / "model.safetensors")
    flip(folder / "reference_statistics.safetensors")
    with pytest.raises(ModelFolderError, match=r"reference_statistics\.safetensors is damaged: its checksum"):
        load_bundle(str(folder))
    flip(folder / "grammar.safetensors")
    with pytest.raises(InvalidValueError, match=r"grammar\.safetensors is damaged: its checksum"):
        load_grammar_of(str(folder))


def test_what_is_not_listed_is_not_checked(folder: Path) -> None:
    flip(folder / "model.safetensors")
    lines = (folder / FILE_NAME).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / FILE_NAME).write_text("".join(line for line in lines if "model.safe" not in line), encoding="utf-8")
    load_bundle(str(folder))
    (folder / FILE_NAME).unlink()
    load_bundle(str(folder))


def test_files_written_anew_stay_listed(folder: Path) -> None:
    statistics = ReferenceStatistics.from_tokens(np.arange(30), 32, human_entropy=2.0)
    statistics.save(folder / "reference_statistics.safetensors")
    require_unchanged(folder)
    assert (folder / FILE_NAME).read_text(encoding="utf-8").count("reference_statistics.safetensors") == 1
    (folder / FILE_NAME).unlink()
    statistics.save(folder / "reference_statistics.safetensors")
    assert not (folder / FILE_NAME).exists()


def test_lacking_files_and_damaged_lists_are_named(folder: Path) -> None:
    (folder / "grammar.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"it lacks grammar\.safetensors, which SHA256SUMS lists"):
        require_unchanged(folder)
    for line in ("x", "0" * 64 + "  ../model.safetensors", "0" * 64 + "  /etc/passwd", "é", "0" * 64 + "  "):
        (folder / FILE_NAME).write_text(line, encoding="utf-8")
        with pytest.raises(ModelFolderError, match=r"SHA256SUMS is damaged: line 1 is no checksum"):
            load_bundle(str(folder))


def test_the_list_is_that_of_sha256sum(tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.safetensors", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    write_checksums(tmp_path)
    names = ("a.safetensors", "b.safetensors")
    expected = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in names)
    assert (tmp_path / FILE_NAME).read_text(encoding="utf-8") == expected


def test_the_same_grammar_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = set()
    for _ in range(3):  # processes hash differently
        subprocess.run([sys.executable, "-c", _WRITE_A_GRAMMAR], cwd=tmp_path, check=True)
        contents.add((tmp_path / "grammar.safetensors").read_bytes())
    for _ in range(20):
        RandomGrammar(5, 2, 1.5, 3).save(tmp_path / "grammar.safetensors")
        contents.add((tmp_path / "grammar.safetensors").read_bytes())
    assert len(contents) == 1


def test_a_damaged_checkpoint_of_the_trainer_is_passed_over(folder: Path, tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        shutil.copy(folder / "model.safetensors", checkpoint)
        (checkpoint / "trainer_state.json").write_text("{}", encoding="utf-8")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({}, checkpoint / name)
        write_checksums(checkpoint)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    flip(tmp_path / "checkpoint-2" / "model.safetensors")
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-1")
