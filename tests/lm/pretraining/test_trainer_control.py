"""Progress and stop requests of runs under transformers' Trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lm.data import ControlCodeConfig
from lm.models import ModelConfig
from lm.pretraining import DataConfig, PretrainConfig, TrainingConfig, pretrain
from lm.runs import Progress, RunCancelledError
from lm.runs.record import read_record
from tests.stop_at import StopAt

STEPS = 12


@pytest.fixture
def config(tmp_path: Path) -> PretrainConfig:
    """A run of twelve steps, validated every five."""
    text = tmp_path / "text.txt"
    story = "One day the cat sat on the mat and the dog ran to the park. "
    text.write_text("\n<|endoftext|>\n".join(f"{number} {story * 6}" for number in range(40)), encoding="utf-8")
    return PretrainConfig(
        model=ModelConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, context_length=32
        ),
        data=DataConfig(train=str(text), validation_fraction=0.1, vocab_size=280),
        training=TrainingConfig(max_steps=STEPS, batch_size=4, evaluate_every=5, precision="float32"),
        control_codes=ControlCodeConfig(segment_length=16),
    )


def test_every_step_is_reported(config: PretrainConfig, tmp_path: Path) -> None:
    reports: list[Progress] = []
    pretrain(config, tmp_path / "run", progress=reports.append)
    assert [report.done for report in reports] == list(range(1, STEPS + 1))
    assert {(report.stage, report.total, report.unit) for report in reports} == {("Pretraining", STEPS, "steps")}
    last = reports[-1].metrics
    assert last["tokens_per_second"] > 0 and 0 < last["loss"] < 10 and last["validation_bits_per_byte"] > 0


def test_a_run_that_is_to_finish_ends_as_completed(config: PretrainConfig, tmp_path: Path) -> None:
    control = StopAt(7, "finish")
    result = pretrain(config, tmp_path / "run", progress=control, stop=control.stop)
    assert result.steps == 7 and len(control.reports) == 7 and result.validation.loss > 0
    record = read_record(tmp_path / "run")
    assert record is not None and record.state == "completed" and (result.model_folder / "model.safetensors").is_file()


def test_a_cancelled_run_is_resumed_to_the_same_weights(config: PretrainConfig, tmp_path: Path) -> None:
    whole = pretrain(config, tmp_path / "whole").model_folder
    control = StopAt(7, "cancel")
    with pytest.raises(RunCancelledError):
        pretrain(config, tmp_path / "run", progress=control, stop=control.stop)
    record = read_record(tmp_path / "run")
    assert record is not None and record.state == "cancelled" and not (tmp_path / "run" / "model").exists()
    again: list[Progress] = []
    resumed = pretrain(config, tmp_path / "run", resume=True, progress=again.append).model_folder
    assert again[0].done == 8  # from the checkpoint of the step at which it was cancelled
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
