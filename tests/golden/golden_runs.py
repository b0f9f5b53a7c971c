"""Short seeded runs of the main commands, and the figures that they leave.

``python tests/golden/golden_runs.py`` records them in ``golden.json``; do so only where a change of numbers is meant.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from tidal.cli.main import main

GOLDEN = Path(__file__).with_name("golden.json")
OPENINGS = Path(__file__).parents[2] / "tidal_gym" / "envs" / "text" / "openings"
SHORT_EPISODES = ("--env.max_episode_steps", 8, "--env.dtype", "float64")

Figures = dict[str, Any]
"""Numbers, texts and lists of them, by name."""


def run(*arguments: object) -> str:
    """Run a command in this process and return its standard output."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = main([str(argument) for argument in arguments])
    assert code == 0, f"tidal {arguments[0]} ended with exit code {code}"
    return output.getvalue()


def pretrain(folder: Path) -> Figures:
    """Twelve steps of a small model, two epochs of the bundled openings."""
    shape = ("--model.hidden_size", 32, "--model.num_hidden_layers", 2, "--model.num_attention_heads", 2,
             "--model.intermediate_size", 64, "--model.context_length", 64)  # fmt: skip
    data = ("--data.train", OPENINGS / "train.txt", "--data.validation", OPENINGS / "heldout.txt",
            "--data.vocab_size", 400)  # fmt: skip
    training = ("--training.max_steps", 12, "--training.batch_size", 8, "--training.evaluate_every", 6,
                "--training.precision", "float32")  # fmt: skip
    run("pretrain", *shape, *data, *training, "--output", folder)
    return _json(folder / "metrics.json") | _norms(folder / "model" / "model.safetensors")


def train(folder: Path) -> Figures:
    """A warm start that looks ahead, then two updates of PPO."""
    ppo = ("--ppo.num_envs", 8, "--ppo.rollout_steps", 8, "--ppo.batch_size", 32, "--ppo.epochs", 2)
    warm_start = ("--warm_start.env_steps", 128, "--warm_start.rollout_steps", 8, "--warm_start.gradient_steps", 4,
                  "--warm_start.batch_size", 32, "--warm_start.look_ahead", "true")  # fmt: skip
    run("train", *SHORT_EPISODES, *ppo, *warm_start, "--total_steps", 256, "--seed", 3, "--output", folder)
    statistics = _json(folder / "controller" / "observation_statistics.json")
    return _norms(folder / "controller" / "policy.safetensors") | {
        "observation mean": float(np.linalg.norm(statistics["mean"])),
        "observation variance": float(np.linalg.norm(statistics["variance"])),
    }


def tune(folder: Path) -> Figures:
    """Two decoding methods with a few trials each."""
    budget = ("--env_steps", 192, "--num_envs", 4)
    run("tune", *SHORT_EPISODES, *budget, "--decoder", "min-p", "edt", "--seed", 1, "--output", folder)
    return {
        f"{name} {key}": value
        for name in ("min-p", "edt")
        for key, value in _json(folder / f"{name}.json").items()
        if key in ("parameters", "mean_return", "env_steps")
    }


def evaluate(folder: Path) -> Figures:
    """Baselines and the oracle on held-out episodes."""
    agents = ("--agent", "neutral", "random", "oracle", "top-k")
    folder.mkdir()
    path = folder / "evaluation.json"
    run("evaluate", *agents, *SHORT_EPISODES, "--episodes", 6, "--num_envs", 3, "--seed", 5, "--output", path)
    return {f"{found['agent']} returns": found["returns"] for found in _json(path)["agents"]}


def rlm_train(folder: Path) -> Figures:
    """Twenty steps on the sentences of a small grammar."""
    shape = ("--grammar.vocab_size", 8, "--grammar.depth", 2, "--model.hidden_size", 24,
             "--model.intermediate_size", 24)  # fmt: skip
    training = ("--examples.test_size", 40, "--training.max_steps", 20, "--training.batch_size", 8)
    run("rlm", "train", *shape, *training, "--training.checkpoints", 2, "--output", folder)
    return _norms(folder / "model" / "model.safetensors")


def carl_reward(folder: Path) -> Figures:
    """The coherence reward of random logits."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    np.save(folder / "logits.npy", generator.normal(size=(12, 30)) * 3)
    np.save(folder / "ids.npy", generator.integers(0, 30, 12))
    return json.loads(run("carl", "reward", folder / "logits.npy", "--token_ids", folder / "ids.npy", "--json"))


def generate(folder: Path) -> Figures:
    """A continuation under fixed gates, and one with a nucleus."""
    gated = run("generate", "Once upon a time", "--gates", 0.3, 0.2, 0.1, "--max_tokens", 12, "--seed", 2)
    plain = run("generate", "Once upon a time", "--max_tokens", 12, "--top_k", 5, "--seed", 2)
    return {"gated": gated, "plain": plain}


def score(folder: Path) -> Figures:
    """Loss and bits per byte of a sentence."""
    return json.loads(run("score", "The cat sat on the mat. It was very happy.", "--json"))


RUNS = {one.__name__: one for one in (pretrain, train, tune, evaluate, rlm_train, carl_reward, generate, score)}

TOLERANCE = {"carl_reward": 1e-9, "tune": 1e-6, "evaluate": 1e-6, "score": 1e-4}
"""Greatest relative difference, by run; float32 sums differ from processor to processor by more: see `DEFAULT`."""
DEFAULT = 2e-3


def differences(name: str, expected: Any, found: Any, path: str = "") -> list[str]:
    """What of `found` is not as expected, a line each."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        keys = sorted(expected.keys() | found.keys())
        return [line for key in keys for line in differences(name, expected.get(key), found.get(key), f"{path}/{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for index, pair in pairs for line in differences(name, *pair, f"{path}/{index}")]
    if isinstance(expected, float) and isinstance(found, (int, float)):
        is_equal = bool(np.isclose(found, expected, rtol=TOLERANCE.get(name, DEFAULT), atol=1e-12))
    else:
        is_equal = found == expected
    return [] if is_equal else [f"{name}{path}: recorded {expected!r}, now {found!r}"]


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _norms(weights: Path) -> Figures:
    """Euclidean norm of every tensor of a file."""
    return {f"|{name}|": float(tensor.double().norm()) for name, tensor in sorted(load_file(weights).items())}


def record() -> None:
    """Write all figures."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = {name: one(Path(folder) / name) for name, one in RUNS.items()}
    GOLDEN.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(record())
