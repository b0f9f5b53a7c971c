"""Contenders of the pretraining benchmark: the gated transformer with control codes, and GPT-2 of equal size."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from benchmarks.speed.side_by_side import Contender
from lm.models.config import ModelConfig
from lm.pretraining.config import DataConfig, PretrainConfig, TrainingConfig
from lm.pretraining.run import pretrain

OPENINGS = Path(__file__).parents[2] / "tidal_gym" / "envs" / "text" / "openings" / "train.txt"


def pretraining(family: str, text: Path, cache: Path, steps: int) -> Contender:
    """`tidal pretrain` for a few steps; counts the tokens and the time from the second step on, data included.

    Start, validation and saving are excluded, since their time does not grow with the steps.
    """
    config = PretrainConfig(
        model=ModelConfig(family=family),
        data=DataConfig(train=str(text), tokenizer="lm/bundled/tidal-tiny", cache_dir=str(cache)),
        training=TrainingConfig(max_steps=steps, batch_size=16, evaluate_every=10_000),
    )

    def run() -> tuple[int, float]:
        clock = _StepClock()
        with tempfile.TemporaryDirectory() as folder:
            pretrain(config, Path(folder) / "run", callbacks=[clock])
        return (len(clock.ends) - 2) * config.tokens_per_step, clock.ends[-1] - clock.ends[1]

    return run


class _StepClock(TrainerCallback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


def flops_per_token(num_parameters: int) -> float:
    """Operations of a training step per token: two in the forward pass and four in the backward pass per parameter.

    Attention and the embedding lookup are excluded; a tied output layer counts once. Source:
    Kaplan et al. 2020 (arXiv:2001.08361), section 2.1.
    """
    return 6.0 * num_parameters


def write_text(path: Path, documents: int = 3000) -> Path:
    """Training text: documents of repeated bundled openings."""
    openings = OPENINGS.read_text(encoding="utf-8").splitlines()
    stories = (
        " ".join(openings[(7 * number + step) % len(openings)] for step in range(12)) for number in range(documents)
    )
    path.write_text("\n<|endoftext|>\n".join(stories) + "\n", encoding="utf-8")
    return path
