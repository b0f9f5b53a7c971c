"""Training by TRL: all methods, resuming, and the final folder. Skipped where the extra `trl` is not installed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lm.carl.training.config import CarlDataConfig, CarlTrainConfig, FineTuningConfig, PolicyConfig
from lm.errors import InvalidValueError, MissingExtraError, OutputExistsError
from lm.models.bundle import load_model
from lm.tokenizers.tokenization import load_tokenizer

pytest.importorskip("trl", reason="the extra `trl` is not installed")

from lm.carl.training import run as training
from lm.carl.training.data import prompts_of, read_training_data
from lm.carl.training.run import train

DOCUMENTS = "\n".join(f"The {animal} went to the park and was happy." for animal in ("cat", "dog", "fox", "owl")) + "\n"


@pytest.fixture
def data(tmp_path: Path) -> CarlDataConfig:
    path = tmp_path / "documents.txt"
    path.write_text(DOCUMENTS, encoding="utf-8")
    return CarlDataConfig(str(path), by_line=True, prompt_tokens=3)


@pytest.fixture
def config(data: CarlDataConfig) -> CarlTrainConfig:
    return CarlTrainConfig(
        method="sft-then-grpo",
        data=data,
        sft=FineTuningConfig(steps=4, batch_size=4, gate_accuracy=0.05, gate_window=2, gate_min_above=2),
        grpo=PolicyConfig(
            steps=2, prompts_per_step=1, num_generations=4, max_completion_tokens=6, learning_rate=1e-3,
            task_words=("happy",),
        ),
        device="cpu",
    )  # fmt: skip


def test_fine_tuning_ends_at_crystallisation_and_hands_over(config: CarlTrainConfig, tmp_path: Path) -> None:
    result = train(config, tmp_path / "run")
    assert result.sft["opened_at"] == result.sft["steps"] == 2, "two accuracies above 0.05, of 4 steps"
    assert result.sft["peak_entropy"] > 0
    assert result.grpo["steps"] == 2 and len(result.grpo["log"]) == 2
    assert {"rewards/carl/mean", "rewards/task/mean", "carl/novelty", "frac_reward_zero_std"} <= result.grpo["log"][
        0
    ].keys()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8")) == {
        "sft": result.sft,
        "grpo": result.grpo,
    }
    # The policy started from the fine-tuned model, and went on from there.
    start, tuned, end = (
        load_model(str(folder)).state_dict()["blocks.0.ffn.expand.weight"]
        for folder in (training.resolve("tidal-tiny"), tmp_path / "run" / "sft" / "model", result.model_folder)
    )
    assert not torch.equal(start, tuned) and not torch.equal(tuned, end)
    assert load_tokenizer(str(result.model_folder)).eos_token_id == 0

    with pytest.raises(OutputExistsError, match="already holds a run"):
        train(config, tmp_path / "run")


def test_a_run_is_resumed_where_it_was(
    config: CarlTrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the methods: what is done is not done again."""

    def killed(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_optimize", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run")
    monkeypatch.setattr(training, "_fine_tune", killed)
    result = train(config, tmp_path / "run", resume=True)
    assert result.sft["steps"] == 2 and result.grpo["steps"] == 2


class _KillAfter(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_killed_within_a_method_it_ends_as_if_it_had_not_been(config: CarlTrainConfig, tmp_path: Path) -> None:
    """Four documents, and one a step: killed in the first epoch and in the third; the weights follow the phase."""
    grpo = replace(config.grpo, steps=11, adaptive_weights=True)
    config = replace(config, method="grpo", save_every=2, grpo=grpo)
    whole = train(config, tmp_path / "whole")
    for step in (3, 9, 11):
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", resume=step > 3, callbacks=[_KillAfter(step)])
    resumed = train(config, tmp_path / "run", resume=True)
    rewards = [[entry["reward"] for entry in result.grpo["log"]] for result in (whole, resumed)]
    assert len(rewards[0]) == 11 and rewards[0] == rewards[1]
    for name, weight in load_model(str(whole.model_folder)).state_dict().items():
        assert torch.equal(load_model(str(resumed.model_folder)).state_dict()[name], weight), name
    again = train(config, tmp_path / "run", resume=True)
    assert again.grpo == resumed.grpo  # nothing is left to do


def test_fine_tuning_killed_at_its_end_and_before_goes_on_as_if_it_had_not_been(
    config: CarlTrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sft = replace(config.sft, steps=9, batch_size=2, gate_accuracy=0.3, gate_window=4, gate_min_above=4)
    config = replace(config, method="sft", save_every=1, sft=sft)
    whole = train(config, tmp_path / "whole")
    assert 4 <= whole.sft["opened_at"] < 9
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", callbacks=[_KillAfter(4)])

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "_save", killed)
        train(config, tmp_path / "run", resume=True)
    resumed = train(config, tmp_path / "run", resume=True)
    assert resumed.sft == whole.sft
    for name, weight in load_model(str(whole.model_folder)).state_dict().items():
        assert torch.equal(load_model(str(resumed.model_folder)).state_dict()[name], weight), name


def test_chat_prompts_end_before_the_answer(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}]
    path = tmp_path / "chat.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    config = CarlDataConfig(str(path))
    prompts = prompts_of(read_training_data(config), config, load_tokenizer(training.resolve("tidal-tiny")))
    assert prompts[0] == {"prompt": [{"role": "user", "content": "Hi"}]}


def test_prompts_of_text(data: CarlDataConfig) -> None:
    dataset = read_training_data(replace(data, max_documents=2))
    prompts = prompts_of(dataset, data, load_tokenizer(training.resolve("tidal-tiny")))
    assert prompts["prompt"] == ["The cat went", "The dog went"]


def test_a_task_reward_by_module_and_attribute(config: CarlTrainConfig) -> None:
    grpo = replace(config.grpo, carl_weight=0.0, task_words=(), task_reward="math:prod", task_weight=2.0)
    rewards, weights = training.make_rewards(replace(config, grpo=grpo))
    assert [reward.__name__ for reward in rewards] == ["prod"] and weights == [2.0]
    rewards, weights = training.make_rewards(replace(config, grpo=replace(config.grpo, carl_weight=0.5)))
    assert [reward.__name__ for reward in rewards] == ["carl", "task"] and weights == [0.5, 1.0]
    with pytest.raises(InvalidValueError, match="`grpo.task_reward` must name a reward function as 'module:attribute'"):
        training.make_rewards(replace(config, grpo=replace(grpo, task_reward="math:nothing")))


@pytest.mark.parametrize(
    ("source", "says"),
    [("nowhere.txt", "must be an existing file"), ("nowhere.jsonl", "`data.source` must be an existing file")],
)
def test_missing_data(config: CarlTrainConfig, tmp_path: Path, source: str, says: str) -> None:
    broken = replace(config, data=replace(config.data, source=str(tmp_path / source)))
    with pytest.raises(InvalidValueError, match=says):
        train(broken, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_empty_data_and_missing_column(config: CarlTrainConfig, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(InvalidValueError, match="`data.source` must hold at least one document"):
        read_training_data(CarlDataConfig(str(tmp_path / "empty.txt")))
    (tmp_path / "rows.jsonl").write_text('{"story": "x"}', encoding="utf-8")
    with pytest.raises(InvalidValueError, match=r"`data.text_field` must be one of the columns \['story'\]"):
        read_training_data(CarlDataConfig(str(tmp_path / "rows.jsonl")))


def test_without_trl(config: CarlTrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(MissingExtraError, match=r"needs the extra `trl`: pip install 'tidal-gym\[trl\]'"):
        train(config, tmp_path / "run")
