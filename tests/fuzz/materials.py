"""One small specimen of every kind of file that the project reads, made by the project's own commands."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.tidal.conftest import save_tiny_bundle
from tidal.cli.main import main
from tidal_gym.envs.text.prompts import read_openings

ENV = {"--env.max_episode_steps": 4}
PPO = {
    "--ppo.num_envs": 2,
    "--ppo.rollout_steps": 4,
    "--ppo.batch_size": 4,
    "--ppo.epochs": 1,
    "--ppo.hidden_sizes": [4],
    "--total_steps": 16,
    "--checkpoint_every": 8,
}
PRETRAIN = {
    "--model.hidden_size": 24,
    "--model.num_hidden_layers": 1,
    "--model.num_attention_heads": 1,
    "--model.intermediate_size": 16,
    "--model.context_length": 16,
    "--control_codes.segment_length": 8,
    "--data.vocab_size": 270,
    "--training.max_steps": 2,
    "--training.batch_size": 2,
    "--training.evaluate_every": 1,
    "--training.patience": 0,
    "--data.validation_fraction": 0.2,
}
RLM = {
    "--grammar.vocab_size": 6,
    "--grammar.depth": 2,
    "--model.hidden_size": 24,
    "--model.intermediate_size": 24,
    "--examples.test_size": 8,
    "--training.max_steps": 2,
    "--training.batch_size": 4,
    "--training.checkpoints": 2,
}
CARL = {
    "--data.by_line": True,
    "--data.prompt_tokens": 3,
    "--sft.steps": 1,
    "--sft.batch_size": 2,
    "--sft.max_length": 16,
    "--grpo.steps": 1,
    "--grpo.prompts_per_step": 1,
    "--grpo.num_generations": 2,
    "--grpo.max_completion_tokens": 3,
    "--device": "cpu",
    "--method": "sft-then-grpo",
    "--save_every": 1,
}


def words(options: dict[str, object]) -> list[str]:
    """Options as a command line's words."""
    return [
        word
        for name, value in options.items()
        for word in (name, value if isinstance(value, str) else json.dumps(value))
    ]


def make_materials(folder: Path) -> Path:
    """Fill the folder: ``model``, ``text.txt`` and others, ``logits.npy``, ``train``, ``tune``, ``pretrain``, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tiny_bundle(folder / "model")
    openings = read_openings("train")[:40]
    (folder / "prompts.txt").write_text("\n".join(openings) + "\n", encoding="utf-8")
    (folder / "text.txt").write_text("\n<|endoftext|>\n".join(openings) + "\n", encoding="utf-8")
    rows = [json.dumps({"text": opening}) for opening in openings]
    (folder / "text.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    pq.write_table(pa.table({"text": openings}), folder / "text.parquet")
    generator = np.random.default_rng(0)
    logits, token_ids = generator.normal(size=(5, 11)).astype(np.float32), generator.integers(0, 11, 5)
    np.save(folder / "logits.npy", logits)
    np.savez(folder / "arrays.npz", logits=logits, token_ids=token_ids)
    model = str(folder / "model")
    (folder / "preset.yaml").write_text(
        "seed: 3\ntotal_steps: 8\nenv:\n  max_episode_steps: 4\nppo:\n  num_envs: 2\n"
        "  rollout_steps: 4\n  batch_size: 4\n  epochs: 1\n  hidden_sizes: [4]\n",
        encoding="utf-8",
    )
    made = {
        "train": ["train", "--model", model, *words(ENV | PPO)],
        "tune": ["tune", "--model", model, "--decoder", "min-p", "--env_steps", "16", "--num_envs", "2", *words(ENV)],
        "pretrain": ["pretrain", "--data.train", str(folder / "text.txt"), *words(PRETRAIN)],
        "rlm": ["rlm", "train", *words(RLM)],
        "carl": ["carl", "train", "--model", model, "--data.source", str(folder / "prompts.txt"), *words(CARL)],
        "benchmark": benchmark(model),
    }
    here = Path.cwd()
    os.chdir(folder)  # where caches of tokens go
    try:
        for name, command in made.items():
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = main([*command, "--output", str(folder / name)])
            if code != 0:
                raise RuntimeError(f"{command} ended with {code}: {said.getvalue()}")
    finally:
        os.chdir(here)
    return folder


def benchmark(model: str) -> list[str]:
    """The smallest benchmark, but for ``--output``."""
    return [
        "benchmark",
        "--model",
        model,
        "--workers",
        "1",
        *words(
            {
                "--training.env.max_episode_steps": 4,
                "--training.ppo.num_envs": 2,
                "--training.ppo.rollout_steps": 4,
                "--training.ppo.batch_size": 4,
                "--training.ppo.hidden_sizes": [4],
                "--training.ppo.epochs": 1,
                "--total_steps": 8,
                "--seeds": 1,
                "--decoders": ["min-p"],
                "--static_settings": 2,
                "--episodes": 2,
                "--oracle_episodes": 0,
                "--frozen_episodes": 0,
                "--text_episodes": 0,
            }
        ),
    ]
