"""A controller's training, stopped at any step and resumed, equals an uninterrupted one bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from agents.episodes.env_config import EnvConfig
from agents.training.config import ConstraintConfig, PPOConfig, TrainConfig, WarmStartConfig
from agents.training.run import train
from benchmarks.reliability.final_result import final_result
from lm.errors import CheckpointError
from lm.models.bundle import save_bundle
from lm.models.reference_statistics import ReferenceStatistics
from lm.runs.progress import Progress
from lm.runs.tensors.saved_state import SavedState
from lm.tokenizers.tokenization import load_tokenizer

PPO = PPOConfig(num_envs=4, rollout_steps=8, batch_size=16, epochs=2, hidden_sizes=(8,))
WITHOUT_NORMALISATION = {"normalize_observations": False, "normalize_rewards": False}
WARM = WarmStartConfig(env_steps=96, candidates=4, rollout_steps=8, gradient_steps=3, batch_size=32)


@pytest.fixture
def config(tiny_env: EnvConfig) -> TrainConfig:
    """Six rollouts of 32 steps, a checkpoint after each; episodes of up to 12 tokens are under way at all of them."""
    return TrainConfig(
        env=replace(tiny_env, max_episode_steps=12), ppo=PPO, total_steps=192, checkpoint_every=32, seed=5
    )


@pytest.fixture(scope="session")
def foreign_model(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random GPT-2, which is read through transformers' caches."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=290, n_positions=64, n_embd=32, n_layer=2, n_head=2))
    statistics = ReferenceStatistics.from_tokens(np.arange(1, 290), 290, human_entropy=3.0)
    folder = tmp_path_factory.mktemp("models") / "gpt2"
    save_bundle(folder, model, load_tokenizer(tiny_model), statistics)
    return str(folder)


def variant_of(config: TrainConfig, name: str, tiny_model: str, foreign_model: str) -> TrainConfig:
    env, warm = config.env, replace(config, warm_start=WARM)
    return {
        "plain": config,
        "gaussian, without normalisation": replace(
            config, ppo=replace(PPO, policy="gaussian", learning_rate_schedule="constant", **WITHOUT_NORMALISATION)
        ),
        "under a constraint": replace(
            config,
            env=replace(env, cost="diversity_floor", cost_bound=1.0),
            ppo=replace(PPO, constraint=ConstraintConfig(initial_multiplier=0.5)),
        ),
        "warm start": warm,
        "warm start that looks ahead, with a judge": replace(
            warm,
            env=replace(env, reward="judge", judge=tiny_model),
            warm_start=replace(WARM, look_ahead=True),
            ppo=replace(PPO, reward="expected"),
        ),
        "paid for coherence": replace(config, env=replace(env, carl={})),
        "a grammar": replace(warm, env=EnvConfig(id="TidalRLM-v0", model="rlm-tiny", reward="judge")),
        "another model": replace(config, env=replace(env, model=foreign_model, modulation={"focus_strength": 2.0})),
    }[name]


VARIANTS = (
    "plain", "gaussian, without normalisation", "under a constraint", "warm start",
    "warm start that looks ahead, with a judge", "paid for coherence", "a grammar", "another model",
)  # fmt: skip


class Stop(BaseException):
    """Stands for a kill at a known place."""


@pytest.mark.parametrize("name", VARIANTS)
def test_stopped_at_every_rollout_it_ends_as_if_it_had_not_been(
    config: TrainConfig, tmp_path: Path, name: str, tiny_model: str, foreign_model: str
) -> None:
    config = variant_of(config, name, tiny_model, foreign_model)
    train(config, tmp_path / "whole")
    checkpoints = []
    for step in range(32, 193, 32):

        def listen(report: Progress, step: int = step) -> None:
            if report.done == step:
                raise Stop

        with pytest.raises(Stop):
            train(config, tmp_path / "stopped", resume=step > 32, progress=listen)
        checkpoints += [path.name for path in (tmp_path / "stopped").glob("checkpoints/*")]
    assert checkpoints == [f"{step:010d}" for step in range(32, 161, 32)]
    np.random.seed(1)  # noqa: NPY002 - whatever happens in another process
    torch.manual_seed(1)
    train(config, tmp_path / "stopped", resume=True)
    assert final_result(tmp_path / "stopped") == final_result(tmp_path / "whole")


def test_a_checkpoint_is_no_larger_than_what_is_under_way(config: TrainConfig, output: Path) -> None:
    train(config, output)
    (checkpoint,) = (output / "checkpoints").iterdir()
    state = SavedState.load(checkpoint).part("run").part("env")
    caches = [tensor for name, tensor in state.tensors.items() if name.endswith("cache")]
    assert len(caches) == 2 and caches[0].shape[:3] == (2, 2, 4 * 2)  # layers, keys and values, rows and heads
    assert sum(path.stat().st_size for path in checkpoint.iterdir()) < 600_000


def test_a_checkpoint_of_an_earlier_format_is_named(config: TrainConfig, output: Path) -> None:
    train(config, output)
    (checkpoint,) = (output / "checkpoints").iterdir()
    content = json.loads((checkpoint / "progress.json").read_text())
    del content["format"]
    (checkpoint / "progress.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"written by another version of Tidal Gym, in format 1; this one reads"):
        train(config, output, resume=True)


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_state_is_named(config: TrainConfig, output: Path, name: str) -> None:
    train(config, output)
    (checkpoint,) = (output / "checkpoints").iterdir()
    path = checkpoint / name
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match=r"is damaged or of another policy: .* start again with `--overwrite`"):
        train(config, output, resume=True)
