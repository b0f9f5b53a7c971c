"""`tidal carl` and its subcommands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.carl import carl_reward, compute_phi

Tidal = Callable[..., Any]


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, np.ndarray]:
    """Two sequences, in `both.npz`, and the first one in `logits.npy` and `ids.npy`."""
    rng = np.random.default_rng(0)
    found = {"logits": rng.normal(size=(2, 9, 20)) * 3, "token_ids": rng.integers(0, 20, (2, 9))}
    np.savez(tmp_path / "both.npz", **found)
    np.save(tmp_path / "logits.npy", found["logits"][0])
    np.save(tmp_path / "ids.npy", found["token_ids"][0])
    return found


def test_phi(tidal: Tidal, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    code, out, _ = tidal("carl", "phi", tmp_path / "logits.npy", "--json")
    assert code == 0
    np.testing.assert_allclose(json.loads(out)["phi"], compute_phi(arrays["logits"][0]).phi)
    code, out, _ = tidal("carl", "phi", tmp_path / "both.npz")
    assert code == 0 and out.startswith("18 predictions") and "nats" in out


def test_reward_of_one_sequence(tidal: Tidal, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    files = [tmp_path / "logits.npy", "--token-ids", tmp_path / "ids.npy"]
    expected, components = carl_reward(arrays["logits"][0], arrays["token_ids"][0])
    assert json.loads(tidal("carl", "reward", *files, "--json").out) == {"reward": expected, **components}
    assert f"reward         {expected:.4f}" in tidal("carl", "reward", *files).out
    published, _ = carl_reward(arrays["logits"][0], arrays["token_ids"][0], alignment="paired")
    out = tidal("carl", "reward", *files, "--alignment", "paired", "--json").out
    assert json.loads(out)["reward"] == published


def test_reward_of_a_batch(tidal: Tidal, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    mask = np.arange(9) >= np.array([[3], [5]])
    np.save(tmp_path / "mask.npy", mask)
    expected, _ = carl_reward(arrays["logits"], arrays["token_ids"], mask=mask)
    out = tidal("carl", "reward", tmp_path / "both.npz", "--mask", tmp_path / "mask.npy", "--json").out
    assert json.loads(out)["reward"] == expected.tolist()
    table = tidal("carl", "reward", tmp_path / "both.npz", "--mask", tmp_path / "mask.npy").out
    assert all(f"{value:.4f}" in table for value in expected)


def test_gate_check(tidal: Tidal) -> None:
    assert tidal("carl", "gate-check", "0.6").out == "act, confidence medium\n"
    assert tidal("carl", "gate-check", "0.18").out == "abstain\n"
    assert tidal("carl", "gate-check", "0.6", "--threshold", "0.7").out == "abstain\n"
    assert json.loads(tidal("carl", "gate-check", "0.9", "--json").out) == {"should_act": True, "confidence": "high"}


def test_constants(tidal: Tidal) -> None:
    figures = json.loads(tidal("carl", "constants", "--dimension", "384", "--json").out)
    assert figures["t_star(384)"] == 8192 and figures["sigma"] == 3 / 16
    assert "21.3333" in tidal("carl", "constants").out


def test_agent(tidal: Tidal, model: str) -> None:
    finished = tidal("carl", "agent", "Once", "--model", model, "--max-tokens", "5", "--threshold", "-1")
    assert finished.code == 0 and finished.out.strip() and finished.err.startswith("Confidence ")
    finished = tidal("carl", "agent", "Once", "--model", model, "--max-tokens", "5", "--threshold", "1")
    assert finished.code == 0 and finished.out == "" and finished.err.startswith("Abstains: mean Φ 0.")
    step = json.loads(tidal("carl", "agent", "Once", "--model", model, "--max-tokens", "5", "--json").out)
    assert len(step["token_ids"]) <= 5 and "information" in step["components"]


def test_train(tidal: Tidal, model: str, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="the extra `trl` is not installed")
    run = tmp_path / "run"
    short = [
        "--model", model, "--sft.steps", 1, "--sft.batch_size", 2, "--grpo.steps", 1, "--grpo.prompts_per_step", 1,
        "--grpo.max_completion_tokens", 4,
    ]  # fmt: skip
    code, out, _ = tidal("carl", "train", "--config", "configs/carl/smoke.yaml", "--output", run, *short)
    assert code == 0
    assert "1 steps, not crystallised" in out and "Reward carl" in out and str(run / "model") in out
    assert (run / "model" / "model.safetensors").is_file()
    code, _, err = tidal("carl", "train", "--config", "configs/carl/smoke.yaml", "--output", run, *short)
    assert code == 2 and "already holds a run" in err


# Bad input


def save_objects(path: Path) -> None:
    np.save(path, np.array([{"os": "system"}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("prepare", "arguments", "says"),
    [
        (None, ["phi", "nowhere.npy"], "Error: `file` must be an existing .npy or .npz file. Received nowhere.npy.\n"),
        (None, ["phi", "logits.txt"], "must be an existing .npy or .npz file"),
        (save_objects, ["phi", "new.npy"], "refused, as reading them may run code. Received new.npy"),
        (lambda path: path.write_bytes(b"no array"), ["phi", "new.npy"], "`file` must hold arrays of numbers"),
        (lambda path: path.write_bytes(b""), ["phi", "new.npy"], "`file` must hold arrays of numbers"),
        (None, ["reward", "logits.npy"], "Error: `token_ids` must be an array in logits.npy"),
        (None, ["reward", "logits.npy", "--token-ids", "both.npz"], "must have the shape (9,) of the logits"),
        (None, ["reward", "logits.npy", "--token-ids", "ids.npy", "--alignment", "x"], "`alignment` must be one of"),
        (lambda path: np.save(path, np.full((2, 3), np.nan)), ["phi", "new.npy"], "`logits` must not hold NaN"),
        (lambda path: np.save(path, np.zeros((2, 1))), ["phi", "new.npy"], "a vocabulary of at least two words"),
        (lambda path: np.save(path, np.zeros((0, 4))), ["phi", "new.npy"], "must hold at least one prediction"),
        (lambda path: np.save(path, np.zeros(4)), ["phi", "new.npy"], "must have the shape (T, V) or (B, T, V)"),
        (lambda path: path.write_text("words"), ["phi", "new.npy"], "pickled (object) data.\n"),
        (lambda path: np.save(path, np.full(9, 20)), ["reward", "logits.npy", "--token-ids", "new.npy"], "0 to 19."),
        (None, ["gate-check", "1.2"], "Error: `phi_mean` must be a number of at most 1. Received 1.2.\n"),
        (None, ["constants", "--dimension", "0"], "Error: `dimension` must be at least 1. Received 0.\n"),
        (None, ["agent", "x", "--max_tokens", "255"], "`max_tokens` must be at most 254 for a prompt of 2 tokens in"),
        (None, ["agent", "x", "--max_tokens", "0"], "`max_tokens` must be at least 1. Received 0.\n"),
        (None, ["agent", "x", "--temperature", "1e-300"], "`temperature` must be 0 or at least 0.0001. Received 1e-3"),
        (None, ["agent", "x", "--seed", "-1"], "`seed` must be at least 0 and at most 4294967295. Received -1.\n"),
        (None, ["train", "--output", "run", "--method", "dpo"], "See `tidal carl --help`."),
        (None, ["train", "--output", "run", "--grpo.num_generations", "1"], "must be at least 2. Received 1.\n"),
        (None, ["fhi"], "See `tidal carl --help`."),
    ],
)  # fmt: skip
def test_bad_input(
    tidal: Tidal,
    tmp_path: Path,
    arrays: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Path], object] | None,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if prepare is not None:
        prepare(tmp_path / "new.npy")
    code, out, err = tidal("carl", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ") and err.count("\n") == 1 and says in err
    assert not (tmp_path / "run").exists()


def test_objects_in_an_archive_are_refused(tidal: Tidal, tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", logits=np.array([{}], dtype=object))
    assert "arrays of objects are refused" in tidal("carl", "phi", tmp_path / "new.npz").err


def test_interrupted_training_can_be_resumed(tidal: Tidal, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidal.cli.commands import carl

    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(carl, "run", interrupted)
    assert "tidal carl train --output run --resume" in tidal("carl", "train", "--output", "run").err
    assert "Files written so far are kept" in tidal("carl", "agent", "x").err
