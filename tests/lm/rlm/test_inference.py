"""Exact inference against sums over all sentences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lm.rlm.grammar import RandomGrammar
from tests.lm.rlm.enumeration import conditional, joint_table, sentence_probability

SIZES = [(v, depth) for v in (2, 3, 4) for depth in (1, 2, 3)]
BETAS = (0.3, 1.0, 2.0, 5.0)


def grammars(v, depth):
    return [RandomGrammar(v, depth, beta, seed) for beta in BETAS for seed in range(3)]


def sentences(grammar, count=6):
    """Likely sentences, and any."""
    generator = torch.Generator().manual_seed(7)
    anything = torch.randint(grammar.vocab_size, (count, grammar.sentence_length), generator=generator)
    return torch.cat((grammar.sample(count, generator), anything))


def test_the_table_by_trying_every_derivation():
    grammar = RandomGrammar(2, 2, 1.5, 3)
    table = joint_table(grammar.rules.numpy(), 2)
    for root in range(2):
        for sentence in np.ndindex(2, 2, 2, 2):
            expected = sentence_probability(grammar.rules.tolist(), root, sentence) / 2
            assert table[(root, *sentence)] == pytest.approx(expected, rel=1e-12)
    assert table.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("v", "depth"), SIZES)
def test_every_posterior_and_likelihood(v, depth):
    for grammar in grammars(v, depth):
        table = joint_table(grammar.rules.numpy(), depth)
        tokens = sentences(grammar)
        following, masked = grammar.next_token_posterior(tokens), grammar.masked_posterior(tokens)
        roots, likelihoods = grammar.root_posterior(tokens), grammar.log_likelihood(tokens)
        for row, sentence in enumerate(tokens.tolist()):
            known = {place + 1: symbol for place, symbol in enumerate(sentence)}
            assert likelihoods[row].item() == pytest.approx(math.log(table[(slice(None), *sentence)].sum()), abs=1e-9)
            np.testing.assert_allclose(roots[row], conditional(table, 0, known), atol=1e-9, rtol=0)
            for place in range(len(sentence)):
                before = {axis: symbol for axis, symbol in known.items() if axis <= place}
                others = {axis: symbol for axis, symbol in known.items() if axis != place + 1}
                np.testing.assert_allclose(
                    following[row, place], conditional(table, place + 1, before), atol=1e-9, rtol=0
                )
                np.testing.assert_allclose(masked[row, place], conditional(table, place + 1, others), atol=1e-9, rtol=0)


def test_by_hand():
    """Symbol 0 becomes 00 or 11 evenly; 1 becomes 01 always."""
    rules = torch.tensor([[[0.5, 0.0], [0.0, 0.5]], [[0.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)
    grammar = RandomGrammar.from_rules(rules, 1)
    # Sentences: 00 with 1/4, 11 with 1/4, 01 with 1/2.
    tokens = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 0]])
    posterior = grammar.next_token_posterior(tokens)
    torch.testing.assert_close(posterior[0], torch.tensor([[3 / 4, 1 / 4], [1 / 3, 2 / 3]], dtype=torch.float64))
    torch.testing.assert_close(posterior[2, 1], torch.tensor([0.0, 1.0], dtype=torch.float64))
    expected = [math.log(1 / 4), math.log(1 / 2), math.log(1 / 4), -math.inf]
    assert grammar.log_likelihood(tokens).tolist() == pytest.approx(expected)
    torch.testing.assert_close(grammar.root_posterior(tokens[1:3]), torch.eye(2, dtype=torch.float64).flip(0))


def test_position_t_does_not_see_what_follows():
    grammar = RandomGrammar(5, 3, 2.0, 1)
    tokens = grammar.sample(1).expand(5, -1).clone()
    tokens[:, 4] = torch.arange(5)
    posterior = grammar.next_token_posterior(tokens)
    torch.testing.assert_close(posterior[:, :5], posterior[:1, :5].expand(5, -1, -1))
    assert not torch.allclose(posterior[0, 5], posterior[1, 5])


def test_long_sentences_do_not_underflow():
    grammar = RandomGrammar(8, 9, 1.0, 0)
    tokens = grammar.sample(2)
    likelihood = grammar.log_likelihood(tokens)
    assert torch.isfinite(likelihood).all() and (likelihood < -745).all()  # exp of which is 0 in float64
    torch.testing.assert_close(grammar.next_token_posterior(tokens).sum(dim=2), torch.ones(2, 512, dtype=torch.float64))


def test_batches_larger_than_a_block(monkeypatch):
    grammar = RandomGrammar(6, 3, 2.0, 0)
    tokens = grammar.sample(50)
    whole = grammar.next_token_posterior(tokens)
    monkeypatch.setattr("lm.rlm.inference.BLOCK_NUMBERS", 6 * 6 * 7)
    torch.testing.assert_close(grammar.next_token_posterior(tokens), whole, rtol=0, atol=1e-15)


def test_float32_is_close():
    grammar = RandomGrammar(16, 3, 2.0, 0)
    tokens = grammar.sample(20)
    rounded = grammar.to(dtype=torch.float32).next_token_posterior(tokens)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), grammar.next_token_posterior(tokens), rtol=1e-4, atol=1e-6)
