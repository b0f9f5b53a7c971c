"""The smallest right call of every command: what a bad value is put into."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.materials import CARL, ENV, PPO, PRETRAIN, RLM, benchmark, words


def legal_calls(materials: Path) -> dict[tuple[str, ...], list[str]]:
    """Words after the command's name, by command; those that need an output have ``--output out``."""
    model, text, prompts = str(materials / "model"), str(materials / "text.txt"), str(materials / "prompts.txt")
    output = ["--output", "out"]
    analysis = {
        "--episodes": 2,
        "--num_envs": 2,
        "--stories": 1,
        "--window": 2,
        "--min_occurrences": 1,
        "--repeated_prompts": 0,
        "--sweep_episodes": 0,
    }
    demo = {"--steps": 3200, "--settings": 2, "--episodes": 2, "--oracle_episodes": 0}
    sweep = {f"--run.{name[2:]}": value for name, value in RLM.items()} | {"--values": [8], "--grammars": [0]}
    return {
        ("demo",): ["--quick", "--model", model, *words(demo), *output],
        ("generate",): ["Once upon", "--model", model, "--max_tokens", "3"],
        ("train",): ["--model", model, *words(ENV | PPO), *output],
        ("tune",): [
            "--model",
            model,
            "--decoder",
            "min-p",
            "--env_steps",
            "16",
            "--num_envs",
            "2",
            *words(ENV),
            *output,
        ],
        ("evaluate",): ["--agent", "neutral", "--model", model, "--episodes", "2", "--num_envs", "2", *words(ENV)],
        ("benchmark",): [*benchmark(model)[1:], *output],
        ("analyze",): ["--agent", "neutral", "--model", model, *words(ENV | analysis), *output],
        ("score",): ["Once upon a time", "--model", model],
        ("pretrain",): ["--data.train", text, *words(PRETRAIN), *output],
        ("carl", "phi"): [str(materials / "logits.npy")],
        ("carl", "reward"): [str(materials / "arrays.npz")],
        ("carl", "gate-check"): ["0.5"],
        ("carl", "constants"): [],
        ("carl", "train"): ["--model", model, "--data.source", prompts, *words(CARL), *output],
        ("carl", "agent"): ["Once upon", "--model", model, "--max_tokens", "3"],
        ("rlm", "train"): [*words(RLM), *output],
        ("rlm", "sweep"): [*words(sweep), *output],
        ("runs", "list"): [str(materials / "train")],
        ("runs", "show"): [str(materials / "train")],
        ("runs", "stop"): [str(materials / "train")],
        ("runs", "clean"): [str(materials / "train")],
        ("statistics",): ["--model", model, "--data", text, "--held_out", "0.5", "--output", "new.safetensors"],
    }
