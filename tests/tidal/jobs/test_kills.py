"""Training commands in separate processes, ended by SIGKILL at random moments, and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability.final_result import final_result

ROOT = Path(__file__).parents[3]
OPENINGS = ROOT / "tidal_gym" / "envs" / "text" / "openings"

TRAIN = (
    "train", "--env.max_episode_steps", "12", "--ppo.num_envs", "8", "--ppo.rollout_steps", "8",
    "--ppo.batch_size", "32", "--ppo.epochs", "2", "--warm_start.env_steps", "128", "--warm_start.rollout_steps", "8",
    "--warm_start.gradient_steps", "4", "--warm_start.batch_size", "32", "--warm_start.look_ahead", "true",
    "--total_steps", "320", "--checkpoint_every", "64",
)  # fmt: skip
PRETRAIN = (
    "pretrain", "--model.hidden_size", "32", "--model.num_hidden_layers", "1", "--model.num_attention_heads", "2",
    "--model.intermediate_size", "64", "--model.context_length", "64", "--data.train", str(OPENINGS / "train.txt"),
    "--data.validation", str(OPENINGS / "heldout.txt"), "--data.vocab_size", "400", "--training.max_steps", "16",
    "--training.batch_size", "16", "--training.evaluate_every", "2", "--training.precision", "float32",
)  # fmt: skip
RLM = (
    "rlm", "train", "--grammar.vocab_size", "6", "--grammar.depth", "2", "--examples.train_size", "64",
    "--examples.test_size", "64", "--model.hidden_size", "16", "--model.num_hidden_layers", "1",
    "--model.num_attention_heads", "2", "--model.intermediate_size", "32", "--training.batch_size", "16",
    "--training.max_steps", "16", "--training.checkpoints", "30",
)  # fmt: skip


@pytest.mark.parametrize(
    ("command", "checkpoint"),
    [(TRAIN, "checkpoints/0000000*"), (PRETRAIN, "checkpoints/checkpoint-*"), (RLM, "checkpoints/checkpoint-*")],
    ids=["train", "pretrain", "rlm"],
)
def test_a_killed_and_resumed_command_leaves_the_files_of_an_uninterrupted_one(
    tidal: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    checkpoint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tidal(*command, "--output", "whole").code == 0
    arguments = [sys.executable, "-m", "tidal", *command, "--output", "killed"]
    with Path("log").open("w") as log:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
        while process.poll() is None and not any(Path("killed").glob(checkpoint)):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.wait() in (-signal.SIGKILL, 0), Path("log").read_text()
    assert tidal(*command, "--output", "killed", "--resume").code == 0
    assert final_result(Path("killed")) == final_result(Path("whole"))
