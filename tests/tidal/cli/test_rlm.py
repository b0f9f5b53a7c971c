"""`tidal rlm`: train, resume, sweep, and go on to a controller."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from agents.training.config import PPOConfig, TrainConfig

Tidal = Callable[..., Any]

TINY = (
    "--grammar.vocab_size", 6, "--grammar.depth", 2, "--model.hidden_size", 24, "--model.intermediate_size", 24,
    "--examples.test_size", 40, "--training.max_steps", 6, "--training.batch_size", 8, "--training.checkpoints", 2,
)  # fmt: skip


def test_train_resume_and_take_a_controller(tidal: Tidal, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out, err = tidal("rlm", "train", *TINY, "--output", folder)
    assert code == 0, err
    assert "nats above the optimum" in out and "best possible" in out and "Training: done in" in err
    assert (folder / "dynamics.png").stat().st_size > 10_000 and (folder / "model" / "grammar.safetensors").is_file()
    refused = tidal("rlm", "train", *TINY, "--output", folder)
    assert refused.code == 2 and "already holds a run" in refused.err
    assert tidal("rlm", "train", *TINY, "--output", folder, "--resume").code == 0

    short = ("--total_steps", 16, "--ppo.num_envs", 4, "--ppo.rollout_steps", 4, "--ppo.batch_size", 8)
    environment = ("--env.id", "TidalRLM-v0", "--env.reward", "judge", "--env.max_episode_steps", 4)
    code, _, err = tidal("train", *environment, "--model", folder / "model", "--output", tmp_path / "ppo", *short)
    assert code == 0, err
    known = ("--model", folder / "model", "--episodes", 4)
    code, out, err = tidal("evaluate", "--agent", tmp_path / "ppo", "neutral", *known)
    assert code == 0 and "neutral" in out, err


def test_sweep(tidal: Tidal, tmp_path: Path) -> None:
    run = [f"--run.{word[2:]}" if str(word).startswith("--") else word for word in TINY]
    arguments = ("rlm", "sweep", *run, "--values", "[16, 32]", "--grammars", "[0]", "--output", tmp_path / "sweep")
    code, out, err = tidal(*arguments)
    assert code == 0, err
    assert "train_size 16" in out and "train_size 32" in out and "Sweeping: done in" in err
    assert [point["value"] for point in json.loads((tmp_path / "sweep" / "sweep.json").read_text())] == [16, 32]
    assert (tmp_path / "sweep" / "sweep.png").is_file()
    assert tidal(*arguments, "--resume").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--grammar.beta", 0), "`grammar.beta` must be above 0 and at most 1e+06. Received 0.0."),
        (("--grammar.depth", 0), "`grammar.depth` must be at least 1. Received 0."),
        (("--grammar.vocab_size", 1), "`grammar.vocab_size` must be at least 2. Received 1."),
        (("--grammar.file", "nowhere.safetensors"), "`path` must be a file that a grammar was saved to"),
        (("--grammar.depth", 40), "`grammar.depth` must be small enough for inference on its 2^L symbols"),
        (("--grammar.vocab_size", 100_000), "`grammar.vocab_size` must be small enough for drawing its v³ rules"),
        (("--training.max_steps", 0), "`training.max_steps` must be at least 1. Received 0."),
        (("--examples.task", "first"), "examples.task"),
        (("--grammar.size", 3), "grammar.size"),
    ],
)
def test_bad_options_leave_nothing_behind(tidal: Tidal, tmp_path: Path, arguments: tuple, says: str) -> None:
    code, _, err = tidal("rlm", "train", "--output", tmp_path / "run", *arguments)
    assert code == 2 and says in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (torch.ones(3, 4, 3) / 12, "`rules` must have the shape (v, v, v) with v at least 2. Received (3, 4, 3)."),
        (torch.ones(3, 3, 3) / 8, "`rules` must be probabilities that sum to 1 for every parent. Received a sum"),
    ],
)
def test_bad_rule_files_leave_nothing_behind(tidal: Tidal, tmp_path: Path, rules: torch.Tensor, says: str) -> None:
    save_file({"rules": rules}, tmp_path / "rules.safetensors", {"depth": "2"})
    code, _, err = tidal("rlm", "train", "--output", tmp_path / "run", "--grammar.file", tmp_path / "rules.safetensors")
    assert code == 2 and says in err
    assert not (tmp_path / "run").exists()


def test_an_action_is_needed(tidal: Tidal) -> None:
    assert tidal("rlm").code == 2
    assert tidal("rlm", "dance").code == 2
    assert "sweep" in tidal("rlm", "--help").out


def test_an_environment_that_does_not_exist(tidal: Tidal, tmp_path: Path) -> None:
    code, _, err = tidal("train", "--env.id", "CartPole-v1", "--output", tmp_path / "run")
    assert code == 2 and "`env.id` must be an environment whose observations and actions are Boxes" in err


def test_an_environment_of_ones_own(tidal: Tidal, tmp_path: Path, toy_module: str) -> None:
    toy = ("--env.id", f"{toy_module}:Toy-v0", "--ppo.num_envs", 4, "--ppo.rollout_steps", 16)
    code, out, _ = tidal("train", *toy, "--ppo.batch_size", 32, "--total_steps", 128, "--output", tmp_path / "run")
    assert code == 0 and "0 0." in out and "tidal evaluate" not in out
    code, _, err = tidal("train", "--env.id", "Nope-v0", "--output", tmp_path / "other")
    assert code == 2 and "`env.id` must be the id of a registered environment. Received Nope-v0." in err


def test_the_id_is_kept_with_a_controller() -> None:
    assert TrainConfig(ppo=PPOConfig()).env.id == "TidalGating-v0"
