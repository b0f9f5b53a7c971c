"""Pretraining on a small text, end to end: finish, be killed and resumed, refuse to overwrite."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from lm.data.control_code_config import ControlCodeConfig
from lm.errors import CheckpointError, DivergedError, InvalidValueError, ModelFolderError, OutputExistsError
from lm.models.bundle import load_bundle
from lm.models.config import ModelConfig
from lm.pretraining.config import DataConfig, PretrainConfig, TrainingConfig
from lm.pretraining.muon import MuonWithAdamW
from lm.pretraining.run import last_whole_checkpoint, pretrain
from lm.tokenizers.tokenization import END_OF_TEXT

NAMES = ("Tom", "Mia", "Ben", "Sue", "Max", "Lily", "Sam", "Ann")
THINGS = ("a red ball", "the big dog", "her small boat", "a green frog", "the old tree", "some warm bread")


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    random = np.random.default_rng(0)
    choose = random.choice
    lines = [
        f"One day {choose(NAMES)} saw {choose(THINGS)}. {choose(NAMES)} liked {choose(THINGS)}." for _ in range(400)
    ]
    path = tmp_path_factory.mktemp("data") / "stories.txt"
    path.write_text(f"\n{END_OF_TEXT}\n".join(lines), encoding="utf-8")
    return path


def make_config(stories, **overrides):
    model = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    training = {
        "max_steps": 12,
        "batch_size": 4,
        "optimizer": "muon",
        "learning_rate": 1e-2,
        "evaluate_every": 4,
        "precision": "float32",
    }
    return PretrainConfig(
        model=ModelConfig(**model, context_length=32, **overrides.pop("model", {})),
        data=DataConfig(train=str(stories), vocab_size=300, cache_dir=str(stories.parent / "cache")),
        training=TrainingConfig(**(training | overrides)),
        control_codes=ControlCodeConfig(segment_length=8),
    )


class Kill(TrainerCallback):
    """Dies right after the checkpoint of a step, as `kill -9` would."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_a_run_ends_in_a_bundle_that_has_learned(stories, tmp_path):
    result = pretrain(make_config(stories, max_steps=60), tmp_path / "run")
    bundle = load_bundle(str(result.model_folder))
    assert result.validation.loss < 0.6 * np.log(300)
    assert bundle.statistics.human_entropy == pytest.approx(result.validation.entropy, abs=1e-6)
    assert bundle.statistics.unigram_counts.sum() > 1000 and bundle.vocab_size == 300
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["validation bits per byte"] == pytest.approx(result.validation.bits_per_byte, abs=1e-4)
    assert any((tmp_path / "run").rglob("events.out.tfevents*"))
    with pytest.raises(OutputExistsError):
        pretrain(make_config(stories, max_steps=60), tmp_path / "run")


def test_a_killed_run_resumes_to_the_same_weights(stories, tmp_path):
    config = make_config(stories)
    whole = pretrain(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, tmp_path / "killed", callbacks=[Kill(step=10)])
    broken = tmp_path / "killed" / "checkpoints" / "checkpoint-9"  # as a checkpoint that the kill cut short
    broken.mkdir()
    (broken.parent / "checkpoint-x").mkdir()
    (broken / "trainer_state.json").write_text('{"epoch": 0.')
    optimizer = broken.parent / "checkpoint-10" / "optimizer.pt"  # damaged later on
    shutil.copytree(broken.parent / "checkpoint-8", optimizer.parent)
    optimizer.write_bytes(optimizer.read_bytes()[:-100])
    assert last_whole_checkpoint(tmp_path / "killed" / "checkpoints").endswith("checkpoint-8")
    resumed = pretrain(config, tmp_path / "killed", resume=True)
    assert resumed.validation == whole.validation
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(resumed)[name]), name
    with pytest.raises(CheckpointError, match="`training.learning_rate` was 0.01 and is 0.5"):
        pretrain(make_config(stories, learning_rate=0.5), tmp_path / "killed", resume=True)


def weights_of(result):
    return load_bundle(str(result.model_folder)).model.state_dict()


@pytest.mark.parametrize("variant", ["muon", "adamw"])
def test_a_run_killed_in_any_epoch_resumes_to_the_same_weights_bit_for_bit(stories, tmp_path, variant):
    """Four epochs of 9 updates; killed in the first, after its end, in the third and in the fourth."""
    variants = {
        "muon": {"batch_size": 32, "optimizer": "muon"},
        "adamw": {"batch_size": 16, "gradient_accumulation": 2, "optimizer": "adamw", "model": {"dropout": 0.1}},
    }
    config = make_config(stories, max_steps=32, evaluate_every=1, **variants[variant])
    whole = pretrain(config, tmp_path / "whole")
    state = json.loads((tmp_path / "whole" / "checkpoints" / "checkpoint-32" / "trainer_state.json").read_text())
    assert state["epoch"] > 3
    for step in (4, 10, 20, 30):
        with pytest.raises(KeyboardInterrupt):
            pretrain(config, tmp_path / "killed", resume=step > 4, callbacks=[Kill(step)])
    (tmp_path / "killed").rename(tmp_path / "moved")
    resumed = pretrain(config, tmp_path / "moved", resume=True)
    assert resumed.validation == whole.validation
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(resumed)[name]), name


def test_patience_goes_on_counting_and_a_run_that_it_ended_stays_ended(stories, tmp_path):
    config = make_config(stories, max_steps=30, evaluate_every=2, patience=3, learning_rate=1.0)
    whole = pretrain(config, tmp_path / "whole")
    assert 6 < whole.steps < 30
    for step in (whole.steps - 1, whole.steps - 3):
        with pytest.raises(KeyboardInterrupt):
            pretrain(config, tmp_path / str(step), callbacks=[Kill(step)])
        resumed = pretrain(config, tmp_path / str(step), resume=True)
        assert (resumed.steps, resumed.validation) == (whole.steps, whole.validation)
    again = pretrain(config, tmp_path / "whole", resume=True)
    assert (again.steps, again.validation) == (whole.steps, whole.validation)
    assert pretrain(make_config(stories, max_steps=30, evaluate_every=2, patience=5, learning_rate=1.0),
                    tmp_path / "whole", resume=True).steps > whole.steps  # fmt: skip


def test_a_finished_run_can_be_taken_up_again_and_made_longer(stories, tmp_path):
    finished = pretrain(make_config(stories), tmp_path / "run")
    again = pretrain(make_config(stories), tmp_path / "run", resume=True)
    assert (again.steps, again.validation) == (finished.steps, finished.validation)
    longer = pretrain(make_config(stories, max_steps=16), tmp_path / "run", resume=True)
    assert longer.steps == 16 and longer.validation.loss != finished.validation.loss


def test_a_mistake_costs_no_run(stories, tmp_path):
    result = pretrain(make_config(stories), tmp_path / "run")
    config = make_config(stories)
    mistaken = replace(config, data=replace(config.data, train="nowhere.txt"))
    with pytest.raises(InvalidValueError, match="`data.train` must be an existing file. Received nowhere.txt."):
        pretrain(mistaken, tmp_path / "run", overwrite=True)
    assert (result.model_folder / "model.safetensors").exists()
    with pytest.raises(InvalidValueError, match="`training.batch_size` must be at most the .* windows"):
        pretrain(make_config(stories, batch_size=100_000), tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "content", "data", "message"),
    [
        ("a.txt", "One day.\n<|endoftext|>\nA cat.", {}, r"`data.train` must hold .* `model.context_length` \(32\)"),
        ("a.txt", "One day a cat sat.", {}, "`data.validation_fraction` must leave one of 1 documents"),
        ("a.txt", "One day.", {"validation_fraction": 1.0}, "`data.validation_fraction` must be in"),
        ("a.txt", "One day.", {"validation": "split:test"}, "`data.validation` may name a split only where"),
        ("a.txt", "One day.", {"validation": "nowhere.txt"}, "`data.validation` must be an existing file"),
        ("a.txt", "\n", {}, "`data.train` must hold at least one document"),
        ("a.jsonl", '{"text": "x"}\n{"text": 5}', {}, "`data.train` must hold text or null .* in line 2"),
        ("a.jsonl", '{"story": "x"}', {}, "`data.text_field` must be one of the columns"),
    ],
)
def test_data_that_cannot_be_trained_on_leaves_no_folder(tmp_path, name, content, data, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    config = make_config(tmp_path / name)
    with pytest.raises(InvalidValueError, match=message):
        pretrain(replace(config, data=replace(config.data, **data)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"batch_size": 0}, "`training.batch_size` must be at least 1. Received 0."),
        ({"learning_rate": -1.0}, "`training.learning_rate` must be above 0 and at most 1000. Received -1.0."),
        ({"warmup_ratio": 1.0}, r"`training.warmup_ratio` must be in \[0, 1\). Received 1.0."),
        ({"seed": -1}, "`training.seed` must be at least 0 and at most 4294967295. Received -1."),
        ({"model": {"dropout": 2.0}}, r"`model.dropout` must be in \[0, 1\). Received 2.0."),
    ],
)
def test_values_that_break_their_rule(stories, overrides, message):
    with pytest.raises(InvalidValueError, match=message):
        make_config(stories, **overrides)


def test_mixed_precision_and_accumulation(stories, tmp_path):
    config = make_config(stories, precision="bfloat16", gradient_accumulation=2)
    assert config.tokens_per_step == 4 * 2 * 32
    assert pretrain(config, tmp_path / "run").steps == 12


def test_a_full_disk_is_named_and_the_last_checkpoint_whole(stories, tmp_path):
    class FullDisk(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 7:
                raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="could not be written .*No space left.*checkpoint-4 is whole"):
        pretrain(make_config(stories), tmp_path / "run", callbacks=[FullDisk()])
    assert pretrain(make_config(stories), tmp_path / "run", resume=True).steps == 12


def test_gpt2_and_gateless_models_train_by_the_same_road(stories, tmp_path):
    for name, model in {"gpt2": {"family": "gpt2"}, "gateless": {"gated": False}}.items():
        result = pretrain(make_config(stories, optimizer="adamw", model=model), tmp_path / name)
        assert load_bundle(str(result.model_folder)).model.config.model_type in ("gpt2", "gated_transformer")
        assert result.steps == 12


def test_muon_with_adamw_moves_every_parameter_and_restores_its_state(stories):
    torch.manual_seed(0)
    make = lambda: torch.nn.Sequential(torch.nn.Embedding(10, 32), torch.nn.Linear(32, 64), torch.nn.LayerNorm(64))  # noqa: E731
    model = make()
    optimizer = MuonWithAdamW(model, lr=0.01, weight_decay=0.1)
    assert len(optimizer.muon.param_groups[0]["params"]) == 1  # the Linear's weight alone is Muon's
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def step(model, optimizer):
        optimizer.zero_grad()
        (model(torch.arange(10)) * torch.arange(64)).square().mean().backward()
        optimizer.step()

    step(model, optimizer)
    assert all(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    twin = make()
    twin.load_state_dict(model.state_dict())
    other = MuonWithAdamW(twin, lr=0.5, weight_decay=0.1)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert [group["lr"] for group in other.param_groups] == [0.01] * 3
    step(model, optimizer)
    step(twin, other)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, twin.state_dict()[name])


def test_folders_that_lack_something_say_how_to_make_it(stories, tmp_path):
    result = pretrain(make_config(stories), tmp_path / "run")
    (result.model_folder / "reference_statistics.safetensors").rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ModelFolderError, match="Make them with `tidal statistics"):
        load_bundle(str(result.model_folder))
    bundle = load_bundle(str(result.model_folder), statistics=str(tmp_path / "elsewhere.safetensors"))
    assert bundle is load_bundle(str(result.model_folder), statistics=str(tmp_path / "elsewhere.safetensors"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (result.model_folder / name).unlink()
    with pytest.raises(ModelFolderError, match="holds no tokenizer"):
        load_bundle(str(result.model_folder), statistics=str(tmp_path / "elsewhere.safetensors"), dtype="float64")
    with pytest.raises(ModelFolderError, match="No model named './nowhere'"):
        load_bundle("./nowhere")


class Diverge(TrainerCallback):
    """Turns a weight into NaN after a step, as too large a learning rate does."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == 6:
            model.lm_head.weight.data[0, 0] = np.nan


def test_a_run_that_diverges_ends_by_name_and_saves_nothing(stories, tmp_path):
    with pytest.raises(DivergedError, match=r"weights of `.*` are NaN or infinite after step 6. Choose a smaller"):
        pretrain(make_config(stories), tmp_path / "run", callbacks=[Diverge()])
    assert {path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*")} == {"checkpoint-4"}
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_largest_learning_rate_ends_by_name_or_in_a_finite_model(stories, tmp_path, optimizer):
    config = make_config(stories, optimizer=optimizer, learning_rate=1000.0, max_grad_norm=1e6)
    try:
        folder = pretrain(config, tmp_path / "run").model_folder
    except DivergedError:
        return
    assert all(bool(weights.isfinite().all()) for weights in load_bundle(str(folder)).model.state_dict().values())
