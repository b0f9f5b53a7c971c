"""Runs on a tiny grammar: what they leave, what they learn, being killed and resumed, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from lm.errors import CheckpointError, DivergedError, InvalidValueError, ModelFolderError, OutputExistsError
from lm.models.bundle import load_bundle, load_model
from lm.models.config import ModelConfig
from lm.models.new_model import build_model
from lm.rlm.config import ExamplesConfig, GrammarConfig, OptimizationConfig, RLMConfig, SweepConfig
from lm.rlm.datasets import SentenceSet, SentenceStream
from lm.rlm.dynamics import append_point, cut_dynamics, read_dynamics
from lm.rlm.grammar import RandomGrammar
from lm.rlm.measurement import Yardstick, divergence
from lm.rlm.model_folder import load_grammar_of
from lm.rlm.statistics import sentence_entropy
from lm.rlm.sweep import run_sweep
from lm.rlm.symbols import symbol_tokenizer
from lm.rlm.tasks import TASKS, make_task
from lm.rlm.training import checkpoint_steps, train_on_grammar
from lm.runs.stop import StopRequest

TINY = ModelConfig(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, gated=False,
    tie_word_embeddings=False,
)  # fmt: skip


def make_config(task="next", **training):
    defaults = {"max_steps": 12, "batch_size": 16, "learning_rate": 1e-2, "checkpoints": 4}
    return RLMConfig(
        grammar=GrammarConfig(vocab_size=6, depth=2, beta=2.0, seed=1),
        examples=ExamplesConfig(task=task, test_size=200),
        model=TINY,
        training=OptimizationConfig(**(defaults | training)),
    )


class Kill(TrainerCallback):
    """Dies after a step, as `kill -9` would."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


class Exact(torch.nn.Module):
    """A "model" that answers with the exact posterior, mixed with uniform guesses."""

    def __init__(self, grammar, share):
        super().__init__()
        self.grammar, self.share = grammar, share
        self.device = torch.device("cpu")

    def forward(self, input_ids):
        sentences = torch.nn.functional.pad(input_ids[:, 1:], (0, 1))
        posterior = self.grammar.next_token_posterior(sentences)
        mixed = (1 - self.share) * posterior + self.share / posterior.shape[2]
        logits = torch.nn.functional.pad(mixed.log(), (0, 1), value=-torch.inf)
        return type("Output", (), {"logits": logits})()


def test_the_best_possible_model_has_no_excess():
    grammar = RandomGrammar(6, 2, 2.0, 1)
    task = make_task("next", grammar)
    yardstick = Yardstick(task, SentenceSet(task, 2000, seed=0).examples)
    floors, best = yardstick.floors(), yardstick.measure(Exact(grammar, 0.0))
    assert best.excess == pytest.approx(0.0, abs=1e-6)
    assert best.loss == pytest.approx(floors.optimum, abs=0.02)
    assert best.entropy == pytest.approx(floors.optimum, abs=1e-5)
    assert best.accuracy == pytest.approx(floors.best_accuracy, abs=0.02)
    assert floors.optimum < floors.bigram < floors.unigram < floors.uniform == pytest.approx(np.log(6))
    exact = sum(place.value for place in sentence_entropy(grammar).by_position) / 4
    assert abs(floors.optimum - exact) < 4 * floors.optimum_standard_error

    guessing = yardstick.measure(Exact(grammar, 1.0))
    assert guessing.loss == pytest.approx(np.log(6), abs=1e-5)
    # KL(P ‖ uniform) = ln v − H(P): the excess is the loss over the optimum, without the noise of the answers.
    assert guessing.excess == pytest.approx(np.log(6) - floors.optimum, abs=1e-5)
    assert np.mean(guessing.excess_by_position) == pytest.approx(guessing.excess)


def test_divergence_by_hand():
    probs = torch.tensor([[0.5, 0.5, 0.0]])
    log_probs = torch.tensor([[0.25, 0.5, 0.25]]).log()
    assert divergence(probs, log_probs).item() == pytest.approx(0.5 * np.log(2))


def test_a_run_learns_and_leaves_a_bundle(tmp_path):
    result = train_on_grammar(make_config(max_steps=250, warmup_steps=10), tmp_path / "run")
    assert result.best.test.excess < 0.4 * (result.floors.uniform - result.floors.optimum)
    assert result.best.test.excess < 0.5 * read_dynamics(tmp_path / "run" / "dynamics.jsonl")[0].test.excess
    bundle = load_bundle(str(result.model_folder))
    assert bundle.statistics.human_entropy == pytest.approx(result.best.test.entropy)
    grammar = load_grammar_of(str(result.model_folder))
    torch.testing.assert_close(grammar.rules, RandomGrammar(6, 2, 2.0, 1).rules, rtol=1e-6, atol=0)
    task = make_task("next", grammar)
    again = Yardstick(task, SentenceSet(task, 200, seed=1).examples).measure(bundle.model)
    assert again.excess == pytest.approx(result.best.test.excess, rel=1e-4)
    assert json.loads((tmp_path / "run" / "floors.json").read_text())["optimum"] == result.floors.optimum
    assert "excess over the optimum" in (result.model_folder / "README.md").read_text()
    assert any((tmp_path / "run").rglob("events.out.tfevents*"))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_trains(name, tmp_path):
    result = train_on_grammar(make_config(name), tmp_path / "run")
    assert np.isfinite(result.final.test.loss) and result.final.test.excess > 0
    assert len(result.final.test.excess_by_position) == (4 if name == "next" else 1)
    load_bundle(str(result.model_folder))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon"])
def test_every_optimizer_moves_the_weights(optimizer, tmp_path):
    model = replace(TINY, hidden_size=32, intermediate_size=64)  # wide enough for Muon
    config = replace(make_config(optimizer=optimizer, schedule="constant"), model=model)
    points = train_on_grammar(config, tmp_path / "run").final
    start = read_dynamics(tmp_path / "run" / "dynamics.jsonl")[0]
    assert points.test.loss < start.test.loss - 1e-3 and points.learning_rate == 1e-2


def test_gpt2_trains_as_well(tmp_path):
    config = replace(make_config(), model=replace(TINY, family="gpt2"))
    assert load_model(str(train_on_grammar(config, tmp_path / "run").model_folder)).config.model_type == "gpt2"


def test_embeddings_begin_as_asked_for(tmp_path):
    for std in (None, 1.0):
        config = make_config(max_steps=1, learning_rate=1e-6, embedding_std=std)
        model = load_model(str(train_on_grammar(config, tmp_path / str(std)).model_folder))
        assert model.get_input_embeddings().weight.std().item() == pytest.approx(std or 0.02, rel=0.3)


def test_learning_rate_with_a_decay_beyond_the_run(tmp_path):
    train_on_grammar(make_config(max_steps=10, warmup_steps=2, decay_steps=102, checkpoints=10), tmp_path / "run")
    rates = {point.step: point.learning_rate for point in read_dynamics(tmp_path / "run" / "dynamics.jsonl")}
    # The rate noted at step t is the one that step t + 1 takes; the cosine runs from 2 to 102.
    for step in (2, 5, 10):
        assert rates[step] == pytest.approx(1e-2 * 0.5 * (1 + np.cos(np.pi * (step - 2) / 100)))
    assert rates[1] == pytest.approx(5e-3) and rates[0] == 0.0


def test_checkpoints_are_spaced_logarithmically(tmp_path):
    assert checkpoint_steps(OptimizationConfig(max_steps=1000, checkpoints=4)) == {1, 10, 100, 1000}
    assert checkpoint_steps(OptimizationConfig(max_steps=3, checkpoints=10)) == {1, 2, 3}
    assert checkpoint_steps(OptimizationConfig(max_steps=50, checkpoints=1)) == {1, 50}
    train_on_grammar(make_config(max_steps=27, checkpoints=4), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*")}
    assert names == {"checkpoint-1", "checkpoint-3", "checkpoint-9", "checkpoint-27"}
    assert [point.step for point in read_dynamics(tmp_path / "run" / "dynamics.jsonl")] == [0, 1, 3, 9, 27]


def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    config = make_config()
    whole = train_on_grammar(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_on_grammar(config, tmp_path / "killed", callbacks=[Kill(8)])
    with pytest.raises(OutputExistsError):
        train_on_grammar(config, tmp_path / "killed")
    with pytest.raises(CheckpointError, match=r"`training.learning_rate` was 0\.01 and is 0\.02"):
        train_on_grammar(make_config(learning_rate=2e-2), tmp_path / "killed", resume=True)
    resumed = train_on_grammar(config, tmp_path / "killed", resume=True)
    assert (resumed.best, resumed.final) == (whole.best, whole.final)
    for name, weights in load_model(str(whole.model_folder)).state_dict().items():
        assert torch.equal(weights, load_model(str(resumed.model_folder)).state_dict()[name]), name
    assert read_dynamics(tmp_path / "killed" / "dynamics.jsonl") == read_dynamics(tmp_path / "whole" / "dynamics.jsonl")
    finished = train_on_grammar(config, tmp_path / "killed", resume=True)
    assert finished.best == whole.best


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_run_on_a_fixed_set_killed_in_any_epoch_resumes_to_the_same_weights(tmp_path, optimizer):
    """Three epochs of 8 batches, with dropout; killed in the first, after its end, and in the third."""
    config = make_config(max_steps=24, checkpoints=40, optimizer=optimizer)
    model = replace(TINY, hidden_size=32, dropout=0.1)
    config = replace(config, examples=ExamplesConfig(task="next", train_size=128, test_size=50), model=model)
    whole = train_on_grammar(config, tmp_path / "whole")
    for step in (5, 9, 21):
        with pytest.raises(KeyboardInterrupt):
            train_on_grammar(config, tmp_path / "killed", resume=step > 5, callbacks=[Kill(step)])
    resumed = train_on_grammar(config, tmp_path / "killed", resume=True)
    assert (resumed.best, resumed.final) == (whole.best, whole.final)
    for name, weights in load_model(str(whole.model_folder)).state_dict().items():
        assert torch.equal(weights, load_model(str(resumed.model_folder)).state_dict()[name]), name
    assert read_dynamics(tmp_path / "killed" / "dynamics.jsonl") == read_dynamics(tmp_path / "whole" / "dynamics.jsonl")


def test_muon_needs_matrices(tmp_path):
    with pytest.raises(InvalidValueError, match=r"`training.optimizer` must be another .* Received muon\."):
        train_on_grammar(make_config(optimizer="muon"), tmp_path / "run")


def test_the_best_model_is_kept_where_training_overfits(tmp_path):
    config = make_config(max_steps=300, batch_size=8, schedule="constant", checkpoints=12)
    config = replace(config, examples=ExamplesConfig(task="next", train_size=8, test_size=200))
    result = train_on_grammar(config, tmp_path / "run")
    assert result.best.step < result.final.step and result.best.test.loss < result.final.test.loss
    assert result.final.train.loss < result.final.test.loss - 0.5
    task = make_task("next", config.grammar.make())
    kept = Yardstick(task, SentenceSet(task, 200, seed=1).examples).measure(load_model(str(result.model_folder)))
    assert kept.loss == pytest.approx(result.best.test.loss, rel=1e-4)


def test_both_datasets_feed_a_plain_trainer(tmp_path):
    task = make_task("last", RandomGrammar(6, 2, 2.0, 1))
    tokenizer = symbol_tokenizer(task)
    for number, data in enumerate((SentenceStream(task, 0), SentenceSet(task, 40, 0))):
        model = build_model(replace(TINY, context_length=task.context_length), tokenizer)
        arguments = TrainingArguments(
            str(tmp_path / str(number)), max_steps=3, per_device_train_batch_size=8, use_cpu=True, report_to=[],
            save_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        assert Trainer(model, arguments, train_dataset=data).train().training_loss < 2 * np.log(6)


def test_dynamics_survive_a_cut_line(tmp_path):
    train_on_grammar(make_config(max_steps=2, checkpoints=2), tmp_path / "run")
    path = tmp_path / "run" / "dynamics.jsonl"
    points = read_dynamics(path)
    with path.open("a") as file:
        file.write('{"step": 99, "sente')
    assert read_dynamics(path) == points
    cut_dynamics(path, 1)
    assert read_dynamics(path) == points[:2]
    append_point(path, points[2])
    assert read_dynamics(path) == points


def test_a_run_whose_dynamics_lack_a_point_is_not_resumed(tmp_path):
    config = make_config(max_steps=2, checkpoints=2)
    train_on_grammar(config, tmp_path / "run")
    path = tmp_path / "run" / "dynamics.jsonl"
    start = path.read_text().splitlines()[0]
    for content in ("", start + "\n", start + '\n{"step": 2, "sente'):
        path.write_text(content)
        with pytest.raises(CheckpointError, match=r"lacks the point of the checkpoint at step 2\."):
            train_on_grammar(config, tmp_path / "run", resume=True)
        assert path.read_text() == content


def test_a_grammar_from_a_file(tmp_path):
    RandomGrammar(5, 1, 1.0, 7).save(tmp_path / "grammar.safetensors")
    config = replace(make_config(), grammar=GrammarConfig(file=str(tmp_path / "grammar.safetensors")))
    result = train_on_grammar(config, tmp_path / "run")
    assert load_grammar_of(str(result.model_folder)).seed == 7


def test_a_model_without_a_grammar():
    with pytest.raises(ModelFolderError, match=r"'tidal-tiny' has no grammar .*`tidal rlm train`"):
        load_grammar_of("tidal-tiny")


def test_a_sweep_is_resumed(tmp_path):
    config = SweepConfig("train_size", (16, 64), (0, 1), make_config(max_steps=4, checkpoints=2))

    def kill(progress):
        if progress.done == 2.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(config, tmp_path / "sweep", progress=kill)
    assert len(json.loads((tmp_path / "sweep" / "sweep.json").read_text())) == 2
    seen = []
    points = run_sweep(replace(config, values=(16, 64, 128)), tmp_path / "sweep", resume=True, progress=seen.append)
    assert [(point.value, point.grammar) for point in points] == [
        (16, 0), (16, 1), (64, 0), (64, 1), (128, 0), (128, 1),
    ]  # fmt: skip
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (6, 6, "runs")
    assert all(point.excess > 0 for point in points)
    assert points[0].optimum != points[1].optimum, "another grammar"
    with pytest.raises(CheckpointError, match="`parameter` was train_size and is beta"):
        run_sweep(replace(config, parameter="beta"), tmp_path / "sweep", resume=True)


def test_a_sweep_that_is_to_finish_returns_what_it_has(tmp_path):
    stop = StopRequest()
    config = SweepConfig("train_size", (16, 64), (0,), make_config(max_steps=4, checkpoints=2))
    points = run_sweep(config, tmp_path, progress=lambda run: stop.finish() if run.done == 0.5 else None, stop=stop)
    assert [point.value for point in points] == [16] and points[0].best_step == 2  # of the step at which it was asked
    assert [point["value"] for point in json.loads((tmp_path / "sweep.json").read_text())] == [16]


def test_what_a_sweep_varies():
    base = make_config()
    assert SweepConfig("beta", (0.5,), (3,), base).run_of(0.5, 3).grammar == GrammarConfig(6, 2, 0.5, 3)
    assert SweepConfig("depth", (1,), (3,), base).run_of(1, 3).grammar == GrammarConfig(6, 1, 2.0, 3)
    assert SweepConfig("train_size", (16,), (0,), base).run_of(16, 0).examples.train_size == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": ()}, r"`values` must be one or more different numbers\. Received \(\)\."),
        ({"grammars": (1, 1)}, r"`grammars` must be one or more different numbers\. Received \(1, 1\)\."),
        (
            {"parameter": "depth", "values": (1.5,)},
            r"`values` must be whole numbers for `depth`\. Received \(1\.5,\)\.",
        ),
        ({"values": (-4,)}, r"`examples.train_size` must be at least 0\. Received -4\."),
    ],
)
def test_bad_sweeps(arguments, message):
    with pytest.raises(InvalidValueError, match=message):
        SweepConfig(**arguments)


@pytest.mark.parametrize(
    ("section", "name", "value", "rule"),
    [
        ("training", "max_steps", 0, "at least 1"),
        ("training", "batch_size", 0, "at least 1"),
        ("training", "checkpoints", 0, "at least 1"),
        ("training", "learning_rate", 0.0, "above 0"),
        ("training", "learning_rate", float("nan"), "a finite number"),
        ("training", "momentum", 1.0, r"in \[0, 1\)"),
        ("training", "embedding_std", 0.0, "above 0"),
        ("training", "decay_steps", 10, "at least `training.max_steps`"),
        ("training", "warmup_steps", -1, "at least 0"),
        ("examples", "train_size", 5, r"0 or at least `training.batch_size`"),
        ("examples", "test_size", 1, "at least 2"),
    ],
)
def test_bad_configurations(section, name, value, rule):
    config = RLMConfig()
    with pytest.raises(InvalidValueError, match=rf"`{section}\.{name}` must be .*{rule}.*Received {value}\."):
        replace(config, **{section: replace(getattr(config, section), **{name: value})})


class Diverge(TrainerCallback):
    """Turns a weight into NaN after a step, as too large a learning rate does."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == 6:
            model.lm_head.weight.data[0, 0] = np.nan


def test_a_run_that_diverges_ends_by_name_and_saves_no_model(tmp_path):
    with pytest.raises(DivergedError, match="are NaN or infinite after step 12"):
        train_on_grammar(make_config(), tmp_path / "run", callbacks=[Diverge()])
    assert not (tmp_path / "run" / "model").exists()
