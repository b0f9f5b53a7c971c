"""Examples of each task, the best answers, and the floors, against the enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import default_data_collator

from lm.errors import InvalidValueError
from lm.rlm.datasets import SentenceSet, SentenceStream, generator_of
from lm.rlm.grammar import RandomGrammar
from lm.rlm.symbols import symbol_tokenizer
from lm.rlm.tasks import TASKS, Examples, make_task
from tests.lm.rlm.enumeration import conditional, joint_table

GRAMMAR = RandomGrammar(4, 2, 1.5, 0)
TABLE = joint_table(GRAMMAR.rules.numpy(), 2)


def sample(name, count=8, grammar=GRAMMAR):
    task = make_task(name, grammar)
    derivations = grammar.sample_derivations(count, torch.Generator().manual_seed(0))
    return task, derivations, task.examples(derivations, torch.Generator().manual_seed(1))


def entropy(probabilities):
    return float(-(probabilities * np.log(probabilities)).sum())


def test_last():
    task, derivations, (inputs, answers, sentences) = sample("last")
    assert torch.equal(inputs, derivations.leaves[:, :3]) and torch.equal(answers, derivations.leaves[:, 3:])
    assert torch.equal(sentences, derivations.leaves)


def test_next():
    task, derivations, (inputs, answers, _) = sample("next")
    assert (inputs[:, 0] == 4).all() and torch.equal(inputs[:, 1:], derivations.leaves[:, :3])
    assert torch.equal(answers, derivations.leaves)


def test_root():
    task, derivations, (inputs, answers, _) = sample("root")
    assert torch.equal(inputs, derivations.leaves) and torch.equal(answers.squeeze(1), derivations.roots)


def test_masked():
    task, derivations, (inputs, answers, _) = sample("masked", 400)
    is_hidden = inputs == 4
    assert (is_hidden.sum(dim=1) == 1).all() and set(is_hidden.nonzero()[:, 1].tolist()) == {0, 1, 2, 3}
    assert torch.equal(inputs[~is_hidden], derivations.leaves[~is_hidden])
    assert torch.equal(answers.squeeze(1), derivations.leaves[is_hidden])


@pytest.mark.parametrize("name", TASKS)
def test_best_answers_by_enumeration(name):
    task, _, examples = sample(name)
    answers = task.best_answers(examples)
    assert answers.shape == (8, examples.answers.shape[1], 4)
    for row, sentence in enumerate(examples.sentences.tolist()):
        known = {place + 1: symbol for place, symbol in enumerate(sentence)}
        if name == "root":
            expected = [conditional(TABLE, 0, known)]
        elif name == "masked":
            axis = int((examples.inputs[row] == 4).nonzero()) + 1
            expected = [conditional(TABLE, axis, {other: known[other] for other in known if other != axis})]
        else:
            places = range(4) if name == "next" else [3]
            expected = [
                conditional(TABLE, place + 1, {axis: known[axis] for axis in range(1, place + 1)}) for place in places
            ]
        np.testing.assert_allclose(answers[row], np.array(expected), atol=1e-12)


def test_unigram_and_bigram_losses_by_enumeration():
    leaves = [conditional(TABLE, place + 1, {}) for place in range(4)]
    unigram = [entropy(leaf) for leaf in leaves]
    pairs = [TABLE.sum(axis=tuple(axis for axis in range(5) if axis not in (place, place + 1))) for place in (1, 2, 3)]
    bigram = [unigram[0], *(entropy(pair) - entropy(pair.sum(axis=1)) for pair in pairs)]
    root_and_last = TABLE.sum(axis=(1, 2, 3))
    expected = {
        "next": (unigram, bigram),
        "last": (unigram[3:], bigram[3:]),
        "masked": ([np.mean(unigram)], [np.mean(bigram)]),
        "root": ([math.log(4)], [entropy(root_and_last) - unigram[3]]),
    }
    for name, (by_frequency, by_neighbour) in expected.items():
        task = make_task(name, GRAMMAR)
        assert task.unigram_loss().tolist() == pytest.approx(by_frequency, abs=1e-12), name
        assert task.bigram_loss().tolist() == pytest.approx(by_neighbour, abs=1e-12), name


def test_as_any_causal_model_takes_them():
    """Label i is asked of output i − 1."""
    examples = Examples(torch.tensor([[4, 1, 2, 3]]), torch.tensor([[1, 2, 3, 0]]), torch.tensor([[1, 2, 3, 0]]))
    language = examples.as_language()
    assert language["input_ids"].tolist() == [[4, 1, 2, 3, 0]] and language["labels"].tolist() == [[-100, 1, 2, 3, 0]]
    single = Examples(torch.tensor([[1, 2, 3]]), torch.tensor([[0]]), torch.tensor([[1, 2, 3, 0]])).as_language()
    assert single["input_ids"].tolist() == [[1, 2, 3, 0]] and single["labels"].tolist() == [[-100, -100, -100, 0]]


def test_sample_batch():
    inputs, targets = make_task("last", GRAMMAR).sample_batch(16)
    assert inputs.shape == (16, 3) and targets.shape == (16,)
    inputs, targets = make_task("next", GRAMMAR).sample_batch(16, torch.Generator().manual_seed(0))
    assert inputs.shape == targets.shape == (16, 4)


def test_unknown_task():
    with pytest.raises(InvalidValueError, match=r"`task` must be one of last, next, root, masked\. Received 'first'\."):
        make_task("first", GRAMMAR)


def test_streams_of_workers_and_processes_differ(monkeypatch):
    task = make_task("next", GRAMMAR)
    stream = SentenceStream(task, seed=3)
    first = [row["input_ids"].tolist() for row, _ in zip(stream, range(40), strict=False)]
    again = [row["input_ids"].tolist() for row, _ in zip(stream, range(40), strict=False)]
    monkeypatch.setenv("RANK", "1")
    other = [row["input_ids"].tolist() for row, _ in zip(SentenceStream(task, seed=3), range(40), strict=False)]
    assert first == again != other
    worker = type("Worker", (), {"id": 1})()
    monkeypatch.setattr("lm.rlm.datasets.get_worker_info", lambda: worker)
    assert [row["input_ids"].tolist() for row, _ in zip(stream, range(40), strict=False)] not in (first, other)


def test_real_workers_draw_different_sentences():
    task = make_task("next", RandomGrammar(16, 2, 1.0, 0))
    loader = DataLoader(SentenceStream(task, seed=3), batch_size=8, num_workers=2)
    first, second, third = (batch["input_ids"] for batch, _ in zip(loader, range(3), strict=False))
    # Batches come from the workers by turns, and worker 0's stream is that of no workers.
    assert torch.equal(torch.cat((first, third)), SentenceStream(task, seed=3).first(16).as_language()["input_ids"])
    assert not torch.equal(first, second)


def test_sets_of_one_seed_begin_alike():
    task = make_task("masked", GRAMMAR)
    small, large = SentenceSet(task, 10, seed=1), SentenceSet(task, 5000, seed=1)
    assert (len(small), len(large)) == (10, 5000)
    assert all(torch.equal(small[index]["input_ids"], large[index]["input_ids"]) for index in range(10))
    batch = default_data_collator([large[0], large[1]])
    assert batch["input_ids"].shape == batch["labels"].shape == (2, 5)
    stream = SentenceStream(task, 1)
    rows = [row["input_ids"] for row, _ in zip(stream, range(10), strict=False)]
    assert torch.equal(torch.stack(rows), stream.first(10).as_language()["input_ids"])
    assert any(not torch.equal(row, large[index]["input_ids"]) for index, row in enumerate(rows))
    with pytest.raises(InvalidValueError, match=r"`size` must be at least 1\. Received 0\."):
        SentenceSet(task, 0, seed=0)


def test_generators_of_different_seeds():
    task = make_task("last", GRAMMAR)
    states = {generator_of(task, *seeds).initial_seed() for seeds in ((0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 1))}
    assert len(states) == 6


@pytest.mark.parametrize(("name", "size"), [("next", 5), ("last", 4), ("masked", 5)])
def test_tokenizer(name, size):
    tokenizer = symbol_tokenizer(make_task(name, GRAMMAR))
    assert len(tokenizer) == size
    ids = tokenizer("s3 s0")["input_ids"]
    assert ids == ([4, 3, 0] if name == "next" else [3, 0])
    assert tokenizer.decode(ids, skip_special_tokens=True) == "s3 s0"
    assert tokenizer.eos_token_id == (4 if name == "next" else None)
