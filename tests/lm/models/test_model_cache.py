import dataclasses
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import lm.models.bundle
from lm.model_names import resolve
from lm.models.bundle import load_bundle, load_model_and_tokenizer
from lm.models.model_cache import ModelCache

ROOT = Path(__file__).parents[3]


@pytest.fixture
def model_folder(tmp_path):
    return Path(shutil.copytree(resolve("tidal-tiny"), tmp_path / "model"))


def test_values_are_kept_up_to_the_size_and_the_oldest_request_goes_first():
    cache, loads = ModelCache[str](2), []

    def get(key):
        def load():
            loads.append(key)
            return key.upper()

        return cache.get(key, load)

    assert [get(key) for key in "abacab"] == list("ABACAB")
    assert loads == ["a", "b", "c", "b"]


def test_a_load_that_fails_is_tried_again():
    cache = ModelCache[int]()

    def fail():
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get("a", fail)
    assert cache.get("a", lambda: 1) == 1


def test_threads_that_start_at_once_load_a_model_once(model_folder, monkeypatch):
    loads, load, barrier = [], lm.models.bundle.load_model, threading.Barrier(4)

    def counted(*arguments):
        loads.append(arguments)
        return load(*arguments)

    def begin(_):
        barrier.wait()
        return load_bundle(str(model_folder))

    monkeypatch.setattr(lm.models.bundle, "load_model", counted)
    with ThreadPoolExecutor(4) as pool:
        bundles = list(pool.map(begin, range(4)))
    assert len(loads) == 1
    assert all(bundle is bundles[0] for bundle in bundles)


def test_a_model_that_was_trained_again_is_read_again(model_folder):
    before = load_bundle(str(model_folder))
    assert load_bundle(str(model_folder)) is before
    assert load_model_and_tokenizer(str(model_folder))[0] is before.model
    model = load_model_and_tokenizer(str(model_folder), torch.float64)[0]  # another one, which may be changed
    changed = next(model.parameters())
    changed += 1.0
    model.to(torch.float32).save_pretrained(model_folder)
    (model_folder / "SHA256SUMS").unlink()
    after = load_bundle(str(model_folder))
    assert torch.equal(next(after.model.parameters()), next(before.model.parameters()) + 1.0)
    assert after is load_bundle(str(model_folder))


def test_statistics_that_were_measured_again_are_read_again(model_folder, tmp_path):
    elsewhere = tmp_path / "statistics.safetensors"
    (model_folder / "reference_statistics.safetensors").rename(elsewhere)
    before = load_bundle(str(model_folder), statistics=str(elsewhere))
    dataclasses.replace(before.statistics, human_entropy=1.25).save(elsewhere)
    after = load_bundle(str(model_folder), statistics=str(elsewhere))
    assert after.statistics.human_entropy == 1.25
    assert after.model is before.model


def test_a_relative_name_means_the_folder_that_it_names_now(model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = load_bundle("./model")
    other = tmp_path / "other"
    shutil.copytree(model_folder, other / "model")
    monkeypatch.chdir(other)
    assert load_bundle("./model") is not first
    monkeypatch.chdir(tmp_path)
    assert load_bundle("./model") is first


MANY_MODELS = """
import shutil, sys
import psutil
from lm.model_names import resolve
from lm.models.bundle import load_bundle

folder, megabytes = sys.argv[1], []
for number in range(int(sys.argv[2])):
    copy = shutil.copytree(resolve("tidal-tiny"), f"{folder}/{number}")
    load_bundle(copy)
    shutil.rmtree(copy)
    megabytes.append(psutil.Process().memory_info().rss / 2**20)
print(megabytes[9], megabytes[-1])
"""


def test_memory_does_not_grow_with_the_models_that_were_loaded(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MANY_MODELS, str(tmp_path), "25"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    early, late = map(float, result.stdout.split())
    assert late - early < 60.0  # after 15 models more, of 13 MB in memory each
