"""Grammars: their rules by the published definition, sampling, files, and what is refused."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lm import memory
from lm.errors import InvalidValueError
from lm.rlm.grammar import RandomGrammar
from tests.lm.rlm.enumeration import joint_table


def test_rules_by_the_published_definition():
    """Log rules of one parent are β √(ln v) S up to a constant: normal, with that standard deviation."""
    v, beta = 64, 1.5
    rules = RandomGrammar(v, 1, beta, 0).rules
    torch.testing.assert_close(rules.sum(dim=(1, 2)), torch.ones(v, dtype=torch.float64))
    scores = rules.log().view(v, -1)
    scores = scores - scores.mean(dim=1, keepdim=True)
    assert scores.std().item() == pytest.approx(beta * math.sqrt(math.log(v)), rel=0.01)
    assert (scores**4).mean().item() / scores.var().item() ** 2 == pytest.approx(3.0, abs=0.05)


def test_beta_only_stretches_the_scores_of_a_seed():
    cold, warm = RandomGrammar(5, 1, 3.0, 4).rules.log(), RandomGrammar(5, 1, 1.0, 4).rules.log()
    difference = cold - 3 * warm  # a constant for each parent: the normaliser
    torch.testing.assert_close(difference, difference[:, :1, :1].expand_as(difference))


def test_seeds():
    first, again, other = RandomGrammar(6, 2, 2.0, 1), RandomGrammar(6, 2, 2.0, 1), RandomGrammar(6, 2, 2.0, 2)
    first.sample(10)  # what is sampled changes nothing
    assert torch.equal(first.rules, again.rules) and not torch.allclose(first.rules, other.rules)
    assert torch.equal(first.sample(5, torch.Generator().manual_seed(3)), again.sample(5, first.new_generator(3)))
    own = RandomGrammar(6, 2, 2.0, 1)
    assert not torch.equal(own.sample(5), own.sample(5)), "the grammar's own generator goes on"


def test_nothing_reads_the_global_generator():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    RandomGrammar(4, 2, 1.0, 0).sample(8)
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_have_the_probabilities_of_the_enumeration():
    grammar = RandomGrammar(3, 2, 1.5, 0)
    count = 200_000
    derivations = grammar.sample_derivations(count, torch.Generator().manual_seed(0))
    codes = torch.cat((derivations.levels[0], derivations.leaves), dim=1) @ (3 ** torch.arange(5).flip(0))
    frequencies = torch.bincount(codes, minlength=3**5).double().numpy() / count
    expected = joint_table(grammar.rules.numpy(), 2).flatten()
    errors = np.sqrt(expected * (1 - expected) / count)
    assert np.abs((frequencies - expected) / np.maximum(errors, 1e-12)).max() < 4.5
    assert np.mean(((frequencies - expected) / np.maximum(errors, 1e-12)) ** 2) == pytest.approx(1.0, abs=0.35)


def test_derivations_are_trees_of_allowed_rules():
    """With one rule a parent the whole tree follows from the root."""
    rules = torch.zeros(3, 3, 3)
    children = {0: (1, 2), 1: (2, 2), 2: (0, 1)}
    for parent, (left, right) in children.items():
        rules[parent, left, right] = 1
    derivations = RandomGrammar.from_rules(rules, 3).sample_derivations(50)
    assert [tuple(level.shape) for level in derivations.levels] == [(50, 1), (50, 2), (50, 4), (50, 8)]
    for above, below in zip(derivations.levels[:-1], derivations.levels[1:], strict=True):
        for parents, symbols in zip(above.tolist(), below.tolist(), strict=True):
            assert symbols == [symbol for parent in parents for symbol in children[parent]]
    assert set(derivations.roots.tolist()) == {0, 1, 2}
    assert torch.equal(derivations.leaves, derivations.levels[-1])


def test_sampling_goes_through_no_sentence_in_python():
    """So many calls whatever the number; ``benchmarks/rlm.py --part speed`` measures what that is worth."""
    grammar = RandomGrammar(64, 2, 2.0, 0)

    def calls(count):
        made = []
        sys.setprofile(lambda frame, event, argument: made.append(event))
        try:
            grammar.sample(count)
        finally:
            sys.setprofile(None)
        return len(made)

    grammar.sample(2)  # which makes what is kept
    assert calls(20_000) == calls(20) < 1000


def test_a_file_gives_the_grammar_back(tmp_path):
    grammar = RandomGrammar(7, 2, 1.25, 9)
    grammar.save(tmp_path / "grammar.safetensors")
    loaded = RandomGrammar.load(tmp_path / "grammar.safetensors")
    torch.testing.assert_close(loaded.rules, grammar.rules, rtol=1e-12, atol=0)
    assert (loaded.depth, loaded.beta, loaded.seed) == (2, 1.25, 9)


def test_numbers_of_numpy_are_kept_in_files(tmp_path):
    RandomGrammar(np.int64(4), np.int64(2), np.float32(1.5), np.int64(3)).save(tmp_path / "grammar.safetensors")
    loaded = RandomGrammar.load(tmp_path / "grammar.safetensors")
    assert (loaded.depth, loaded.beta, loaded.seed) == (2, 1.5, 3)


def test_a_file_of_half_precision_is_scaled_to_sum_to_1(tmp_path):
    grammar = RandomGrammar(16, 2, 1.0, 0)
    grammar.to(dtype=torch.float16).save(tmp_path / "half.safetensors")
    rules = RandomGrammar.load(tmp_path / "half.safetensors").rules
    torch.testing.assert_close(rules.sum(dim=(1, 2)), torch.ones(16, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(rules, grammar.rules, rtol=2e-2, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 2, 1.0), r"`vocab_size` must be at least 2\. Received 1\."),
        ((4.0, 2, 1.0), r"`vocab_size` must be an integer\. Received 4\.0\."),
        ((4, 0, 1.0), r"`depth` must be at least 1\. Received 0\."),
        ((4, 2, 0.0), r"`beta` must be above 0 and at most 1e\+06\. Received 0\.0\."),
        ((4, 2, -2.0), r"`beta` must be above 0 and at most 1e\+06\. Received -2\.0\."),
        ((4, 2, math.nan), r"`beta` must be a finite number\. Received nan\."),
        ((4, 2, 1.0, -1), r"`seed` must be at least 0 and at most 4294967295\. Received -1\."),
    ],
)
def test_bad_grammars(arguments, message):
    with pytest.raises(InvalidValueError, match=message):
        RandomGrammar(*arguments)


def test_memory_is_checked_before_it_is_spent(monkeypatch):
    with pytest.raises(InvalidValueError, match=r"needs 16000000\.0 GB; .* are free\. Received 100000\. At most"):
        RandomGrammar(100_000, 1, 1.0)
    with pytest.raises(InvalidValueError, match=r"`depth` must be small enough for inference on its 2.*Received 60\."):
        RandomGrammar(4, 60, 1.0)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Free", (), {"available": 16 * 8**3})())
    assert RandomGrammar(8, 1, 1.0).vocab_size == 8
    with pytest.raises(InvalidValueError, match=r"At most 8 fits"):
        RandomGrammar(9, 1, 1.0)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.int64), r"`tokens` must have the shape \(B, 4\).*Received \(2, 3\)"),
        (torch.zeros(4, dtype=torch.int64), r"`tokens` must have the shape \(B, 4\).*Received \(4,\)"),
        (torch.tensor([[0, 1, 2, 5]]), r"`tokens` must lie in the vocabulary, 0 to 4\. Received 5\."),
        (torch.tensor([[0, -1, 2, 3]]), r"`tokens` must lie in the vocabulary, 0 to 4\. Received -1\."),
        (torch.zeros(2, 4), r"`tokens` must be int64\. Received torch\.float32\."),
    ],
)
@pytest.mark.parametrize("method", ["next_token_posterior", "log_likelihood", "root_posterior", "masked_posterior"])
def test_bad_sentences(method, tokens, message):
    with pytest.raises(InvalidValueError, match=message):
        getattr(RandomGrammar(5, 2, 1.0), method)(tokens)


@pytest.mark.parametrize("count", [0, -3, 1.5])
def test_bad_counts(count):
    with pytest.raises(InvalidValueError, match=rf"`count` must be (an integer|at least 1)\. Received {count}\."):
        RandomGrammar(5, 2, 1.0).sample(count)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (torch.ones(2, 2, 3) / 6, r"`rules` must have the shape \(v, v, v\).*Received \(2, 2, 3\)"),
        (torch.ones(2, 4) / 4, r"`rules` must have 3 dimensions.* not the shape \(2, 4\)"),
        (torch.ones(2, 2, 2), r"sum to 1 for every parent\. Received a sum of 4, smallest 1 for parent 0"),
        (torch.tensor([[[1.5, -0.5], [0, 0]]] * 2), r"Received a sum of 1, smallest -0\.5 for parent 0"),
        (torch.full((2, 2, 2), math.nan), r"sum to 1 for every parent\. Received a sum of nan"),
    ],
)
def test_bad_rule_files(rules, message, tmp_path):
    path = tmp_path / "grammar.safetensors"
    save_file({"rules": rules}, path, {"depth": "2"})
    with pytest.raises(InvalidValueError, match=message):
        RandomGrammar.load(path)


def test_files_that_hold_no_grammar(tmp_path):
    save_file({"weights": torch.ones(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("other", "text", "missing"):
        with pytest.raises(InvalidValueError, match=rf"must be a file that a grammar was saved to.*{name}"):
            RandomGrammar.load(tmp_path / f"{name}.safetensors")
