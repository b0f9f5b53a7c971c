"""Sizes that the memory cannot hold are refused by the option's name, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lm import memory
from lm.errors import InvalidValueError
from lm.memory import require_memory

Tidal = Callable[..., Any]
PRETRAIN = (
    "pretrain", "--data.train", "text.txt", "--data.vocab_size", 300, "--model.context_length", 32,
    "--control_codes.segment_length", 32,
)  # fmt: skip
WARM = ("train", "--total_steps", 10**12, "--warm_start.env_steps")

# With 1 GB free. What is needed, by hand: 2 networks of 64 * w numbers, 16 bytes each; a rollout's step of 64 rows with
# 64 + 3 + 6 numbers of 4 bytes; a state of the warm start, 2 * 64 + 8 * (3 + 1) such numbers; 32 bytes for each of 50
# tokens; 64 bytes a token while a tokenizer is trained; 16 bytes for each of the 10 tokens around a sentence of 8.
SIZES = [
    (("train", "--ppo.hidden_sizes", "[10000000]"), "ppo.hidden_sizes", 10**9 // (2 * 16 * 64)),
    (("train", "--ppo.rollout_steps", 10**9), "ppo.rollout_steps", 10**9 // (64 * 73 * 4)),
    (("train", "--ppo.num_envs", 10**8), "ppo.num_envs", None),
    ((*WARM, 10**12), "warm_start.env_steps", 10**9 // (160 * 4)),
    ((*WARM, 10**3, "--warm_start.candidates", 10**9), "warm_start.candidates", (10**9 // 1600 - 512) // 16),
    ((*WARM, 10**3, "--warm_start.rollout_steps", 10**9), "warm_start.candidates", None),
    (("rlm", "train", "--model.num_hidden_layers", 10**7), "model.num_hidden_layers", None),
    (("rlm", "train", "--model.intermediate_size", 10**11), "model.intermediate_size", None),
    (("rlm", "train", "--examples.test_size", 10**11), "examples.test_size", 10**9 // 160),
    (("rlm", "train", "--training.batch_size", 10**11), "training.batch_size", None),
    (("rlm", "sweep", "--values", "[1e3, 1e13]"), "run.examples.train_size", 10**9 // 160),
    (("rlm", "sweep", "--run.model.hidden_size", 10**8), "run.model.hidden_size", None),
    ((*PRETRAIN, "--data.vocab_size", 10**12), "data.vocab_size", 10**9 // 64),
    ((*PRETRAIN, "--model.hidden_size", 6 * 10**6), "model.hidden_size", None),
    ((*PRETRAIN, "--model.num_hidden_layers", 10**6), "model.num_hidden_layers", None),
    (("evaluate", "--agent", "neutral", "--episodes", 10**11), "episodes", 10**9 // (32 * 50)),
    (("analyze", "--agent", "neutral", "--episodes", 10**11), "episodes", 10**9 // (32 * 50)),
    (("tune", "--decoder", "static", "--env_steps", 10**15), "env_steps", None),
    (("benchmark", "--static_settings", 10**12), "static_settings", 10**9 // 64),
    (("benchmark", "--oracle_levels", "[100000, 100000, 100000]"), "oracle_levels", 10**9 // 12),
    (("benchmark", "--episodes", 10**11), "episodes", 10**9 // (32 * 50)),
]


@pytest.mark.parametrize(("arguments", "option", "most"), SIZES, ids=lambda value: str(value)[-40:])
def test_sizes(
    tidal: Tidal, tmp_path: Path, monkeypatch: Any, arguments: tuple[Any, ...], option: str, most: int | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "benchmark":
        pytest.importorskip("rliable")
        pytest.importorskip("optuna")
    Path("text.txt").write_text("A day of rain.\n<|endoftext|>\nThe cat looked at a bird.\n<|endoftext|>\n" * 200)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Free", (), {"available": 10**9})())
    code, _, err = tidal(*arguments, "--output", "run")
    assert code == 2 and f"`{option}` must be small enough for " in err and "Traceback" not in err, err
    assert most is None or f"At most {most} fits." in err, err
    assert not Path("run").exists()


def test_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: {"cuda:1": (5_000, 10**9)}[device])
    require_memory("rows", 50, "its table", lambda rows: 100 * rows, "cuda:1")
    with pytest.raises(InvalidValueError, match="Received 51. At most 50 fits."):
        require_memory("rows", 51, "its table", lambda rows: 100 * rows, "cuda:1")
