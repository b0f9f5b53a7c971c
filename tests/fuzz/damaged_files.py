"""Damaged files of every kind that the project reads, and what the commands that read them say.

Oracle. The command is run on the undamaged files first, and what it prints is the right result (times left out). With a
damaged file it is to be refused in a sentence, or to give the right result (nothing was lost: a flipped bit in a
comment, a checkpoint or stage that is made again, a value kept for the record), or to use what is there where that is a
legal other content of the kind: any text is a legal corpus or prompt, any numbers are legal logits, a changed number or
word in JSON or YAML is a legal setting. "Accepted wrongly" is another result from a file that has a checksum or is
weights (safetensors, Arrow, torch), from a JSON value of a wrong type, and any result with NaN in it.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.fuzz.attempt import Outcome, attempt
from tests.fuzz.command_lines import run
from tests.fuzz.corruption import corruptions
from tests.fuzz.materials import CARL, ENV, PPO, PRETRAIN, RLM, benchmark, words

TEXT = (".txt", ".jsonl", ".yaml", ".md", ".parquet", ".npy", ".npz")
"""Kinds of which other content is legal."""


@dataclass(frozen=True)
class Reading:
    """A command that reads files."""

    name: str
    source: str
    """File or folder among the materials; in the working folder it has the same name."""
    files: tuple[str, ...]
    """Patterns of the files in it that are damaged; a dot for the file itself."""
    words: Callable[[Path], list[str]]
    """The command line, given the materials' folder."""
    each: int
    """Damages of each file."""


@dataclass(frozen=True)
class Damage:
    """A damaged file and the command that reads it."""

    reading: Reading
    file: str
    content: bytes
    why: str


def readings() -> list[Reading]:
    """Every kind of file, with the smallest command that reads it."""
    few = ["--episodes", "2", "--num_envs", "2"]

    def model(materials: Path) -> list[str]:
        return ["--model", str(materials / "model")]

    text = ["Once upon", "--max_tokens", "4"]
    return [
        Reading(
            "controller",
            "train/controller",
            ("*",),
            lambda m: ["generate", *text, "--controller", "controller", *model(m)],
            40,
        ),
        Reading(
            "tuned decoder",
            "tune/min-p.json",
            (".",),
            lambda m: ["evaluate", "--agent", "./min-p.json", *few, *words(ENV), *model(m)],
            80,
        ),
        Reading("model", "model", ("*",), lambda m: ["generate", *text, "--model", "./model"], 35),
        Reading(
            "statistics",
            "model/reference_statistics.safetensors",
            (".",),
            lambda m: [
                "evaluate",
                "--agent",
                "neutral",
                *few,
                *words(ENV),
                *model(m),
                "--env.statistics",
                "reference_statistics.safetensors",
            ],
            60,
        ),
        Reading(
            "prompts",
            "prompts.txt",
            (".",),
            lambda m: ["evaluate", "--agent", "neutral", *few, *words(ENV), *model(m), "--prompts", "prompts.txt"],
            50,
        ),
        Reading("text", "text.txt", (".",), lambda m: ["score", "--file", "text.txt", *model(m)], 50),
        Reading("JSON lines", "text.jsonl", (".",), lambda m: ["score", "--file", "text.jsonl", *model(m)], 80),
        Reading("Parquet", "text.parquet", (".",), lambda m: ["score", "--file", "text.parquet", *model(m)], 60),
        Reading("logits", "logits.npy", (".",), lambda m: ["carl", "phi", "logits.npy", "--json"], 60),
        Reading("arrays", "arrays.npz", (".",), lambda m: ["carl", "reward", "arrays.npz", "--json"], 60),
        Reading(
            "preset",
            "preset.yaml",
            (".",),
            lambda m: [
                "train",
                "--config",
                "preset.yaml",
                *model(m),
                *("--total_steps", "8", "--ppo.num_envs", "2", "--ppo.rollout_steps", "4", "--ppo.batch_size", "4"),
                *("--output", "out"),
            ],
            80,
        ),
        Reading(
            "grammar",
            "rlm/model/grammar.safetensors",
            (".",),
            lambda m: ["rlm", "train", *words(RLM), "--grammar.file", "grammar.safetensors", "--output", "out"],
            50,
        ),
        Reading(
            "training run",
            "train",
            ("run.json", "learning_curve.jsonl", "checkpoints/*/*"),
            lambda m: ["train", *model(m), *words(ENV | PPO), "--output", "train", "--resume"],
            25,
        ),
        Reading(
            "tuning run",
            "tune",
            ("run.json", "min-p.json"),
            lambda m: [
                "tune",
                *model(m),
                "--decoder",
                "min-p",
                "--env_steps",
                "16",
                "--num_envs",
                "2",
                *words(ENV),
                "--output",
                "tune",
                "--resume",
            ],
            25,
        ),
        Reading(
            "pretraining run",
            "pretrain",
            ("run.json", "checkpoints/*/*"),
            lambda m: [
                "pretrain",
                "--data.train",
                str(m / "text.txt"),
                *words(PRETRAIN),
                "--output",
                "pretrain",
                "--resume",
            ],
            8,
        ),
        Reading(
            "run on a grammar",
            "rlm",
            ("run.json", "*.json*", "checkpoints/*/*"),
            lambda m: ["rlm", "train", *words(RLM), "--output", "rlm", "--resume"],
            8,
        ),
        Reading(
            "CARL run",
            "carl",
            ("run.json", "sft/metrics.json", "grpo/*/*"),
            lambda m: [
                "carl",
                "train",
                *model(m),
                "--data.source",
                str(m / "prompts.txt"),
                *words(CARL),
                "--output",
                "carl",
                "--resume",
            ],
            5,
        ),
        Reading(
            "stages",
            "benchmark",
            ("run.json", "stages/*.json"),
            lambda m: [*benchmark(str(m / "model")), "--output", "benchmark", "--report_only"],
            12,
        ),
    ]


def damages(materials: Path, *, share: float, seed: int) -> list[Damage]:
    """Damaged files, so many of each kind."""
    others = {
        name: (materials / name).read_bytes()
        for name in (
            "tune/min-p.json",
            "logits.npy",
            "text.txt",
            "model/model.safetensors",
            "text.parquet",
            "preset.yaml",
        )
    }
    found = []
    for reading in readings():
        source = materials / reading.source
        names = sorted(
            {
                str(path.relative_to(source))
                for pattern in reading.files
                for path in source.glob(pattern)
                if path.is_file()
            }
            if source.is_dir()
            else {"."}
        )
        for name in names:
            path = source / name if name != "." else source
            content = path.read_bytes()
            if not content or path.suffix in (".md", ".lock") or path.name == "training_args.bin":
                continue
            generator = random.Random(f"{seed} {reading.name} {name}")
            is_json = path.suffix in (".json", ".jsonl")
            foreign = {other: bytes_ for other, bytes_ in others.items() if Path(other).suffix != path.suffix}
            number = max(1, round(share * reading.each))
            for what, damaged in islice(corruptions(content, foreign, is_json, generator), number):
                found.append(Damage(reading, name, damaged, f"{reading.name}, {path.name}: {what}"))
    random.Random(seed).shuffle(found)
    return found


class Reader:
    """Tries damaged files; knows what the undamaged ones give.

    Args:
        materials: folder of the undamaged files.
        seconds: after which a command counts as hanging.
    """

    def __init__(self, materials: Path, seconds: float) -> None:
        self.materials = materials
        self.seconds = seconds
        self.right = {}
        for reading in readings():
            outcome = self._read(reading, None)
            if outcome.how != "returned":
                raise RuntimeError(f"{reading.name} is refused undamaged: {outcome.text}")
            self.right[reading.name] = _figures(outcome.text)

    def try_damage(self, damage: Damage) -> tuple[str, str]:
        """One of ``attempt.KINDS``, and what was seen."""
        outcome = self._read(damage.reading, damage)
        if outcome.how == "refused":
            return "clear", outcome.text
        if outcome.how != "returned":
            return outcome.how, outcome.text
        figures = _figures(outcome.text)
        if figures == self.right[damage.reading.name]:
            return "right", outcome.text
        if re.search(r"\bnan\b", outcome.text, re.IGNORECASE):
            return "accepted", f"NaN: {outcome.text}"
        return ("right" if self._is_legal(damage) else "accepted"), outcome.text

    def _read(self, reading: Reading, damage: Damage | None) -> Outcome:
        source = self.materials / reading.source

        def prepare(folder: Path) -> None:
            target = folder / source.name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
            if damage is not None:
                (target if damage.file == "." else target / damage.file).write_bytes(damage.content)

        return attempt(lambda: run(reading.words(self.materials)), seconds=self.seconds, prepare=prepare)

    def _is_legal(self, damage: Damage) -> bool:
        """Whether another content is a legal one, by the oracle above."""
        name = Path(damage.reading.source if damage.file == "." else damage.file).name
        if name.endswith(TEXT):
            return True
        if name.endswith(".json"):
            # A stage nested too deeply counts as not done, and is left out of the report.
            return " = " not in damage.why and ("nested" not in damage.why or damage.reading.name == "stages")
        return False


def _figures(text: str) -> str:
    """What a command printed, without times and speeds."""
    lines = [line for line in text.splitlines() if not re.search(r"steps/s|\bTime\b|seconds|Report|Results", line)]
    return "\n".join(lines)
