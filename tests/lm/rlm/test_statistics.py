"""Entropies and pair statistics against the enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from lm.errors import InvalidValueError
from lm.rlm import statistics
from lm.rlm.grammar import RandomGrammar
from lm.rlm.statistics import (
    leaf_distribution,
    leaf_given_root,
    mutual_information,
    pair_distribution,
    pair_statistics,
    rule_statistics,
    sentence_entropy,
    tree_distance,
)
from tests.lm.rlm.enumeration import conditional, joint_table


def entropy(probabilities):
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())


def test_exact_entropies():
    grammar = RandomGrammar(3, 2, 2.0, 1)
    table = joint_table(grammar.rules.numpy(), 2).sum(axis=0)  # P(sentence)
    exact = sentence_entropy(grammar)
    assert exact.is_exact and exact.total.standard_error == 0
    assert exact.total.value == pytest.approx(entropy(table), abs=1e-12)
    # The chain rule: H(x_0..x_t) − H(x_0..x_{t−1}).
    sums = [0.0, *(entropy(table.sum(axis=tuple(range(places, 4)))) for places in (1, 2, 3)), entropy(table)]
    assert [place.value for place in exact.by_position] == pytest.approx(np.diff(sums).tolist(), abs=1e-12)
    assert exact.last == exact.by_position[-1]


def test_sampled_entropies_agree_with_exact_ones(monkeypatch):
    grammar = RandomGrammar(4, 2, 1.5, 0)
    exact = sentence_entropy(grammar)
    monkeypatch.setattr(statistics, "ENUMERABLE_SENTENCES", 1)
    sampled = sentence_entropy(grammar, samples=4000, generator=torch.Generator().manual_seed(0))
    assert not sampled.is_exact
    for ours, theirs in zip(
        (*sampled.by_position[1:], sampled.total), (*exact.by_position[1:], exact.total), strict=True
    ):
        assert 0 < ours.standard_error < 0.02
        assert abs(ours.value - theirs.value) < 4 * ours.standard_error
    with pytest.raises(InvalidValueError, match=r"`samples` must be at least 2\. Received 1\."):
        sentence_entropy(grammar, samples=1)


@pytest.mark.parametrize(("beta", "known"), [(2.0, 2.545), (1.0, 3.964)])
def test_floors_known_from_elsewhere(beta, known):
    """Means over grammars of v 64 and L 1; ``benchmarks/rlm.py --part floors`` has more of both."""
    values = [sentence_entropy(RandomGrammar(64, 1, beta, seed)).last.value for seed in range(8)]
    assert abs(np.mean(values) - known) < 2 * np.std(values, ddof=1) / math.sqrt(len(values))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_distributions_of_leaves_and_pairs(depth):
    grammar = RandomGrammar(3, depth, 1.5, 2)
    table = joint_table(grammar.rules.numpy(), depth)
    length = grammar.sentence_length
    for first in range(length):
        np.testing.assert_allclose(leaf_distribution(grammar, first), conditional(table, first + 1, {}), atol=1e-12)
        for root in range(3):
            expected = conditional(table, first + 1, {0: root})
            np.testing.assert_allclose(leaf_given_root(grammar, first)[root], expected, atol=1e-12)
        for second in range(first + 1, length):
            axes = tuple(axis for axis in range(length + 1) if axis not in (first + 1, second + 1))
            np.testing.assert_allclose(pair_distribution(grammar, first, second), table.sum(axis=axes), atol=1e-12)


def test_tree_distance():
    assert [tree_distance(0, other) for other in range(1, 8)] == [1, 2, 2, 3, 3, 3, 3]
    assert tree_distance(3, 4) == 3 and tree_distance(6, 7) == 1


def test_mutual_information_by_hand():
    assert mutual_information(torch.full((4, 4), 1 / 16)) == pytest.approx(0.0, abs=1e-7)
    assert mutual_information(torch.eye(4) / 4) == pytest.approx(math.log(4))


def test_dependence_falls_with_distance():
    by_distance = pair_statistics(RandomGrammar(16, 3, 2.0, 0))
    assert [pair.distance for pair in by_distance] == [1, 2, 3]
    for near, far in itertools.pairwise(by_distance):
        assert near.mutual_information > 2 * far.mutual_information > 0
        assert near.correlation > far.correlation > 0


def test_the_three_transitions():
    """What grows with v beyond its transition shrinks with v before it, and the rule entropy is near 2 − β²/2."""

    def mean(v, beta):
        rows = [rule_statistics(RandomGrammar(v, 1, beta, seed)) for seed in range(4)]
        return {name: np.mean([getattr(row, name) for row in rows]) for name in vars(rows[0])}

    assert mean(64, 0.7)["pair_correlation"] < mean(16, 0.7)["pair_correlation"]
    assert mean(64, 1.6)["pair_correlation"] > mean(16, 1.6)["pair_correlation"]
    assert mean(64, 0.7)["symbol_bias"] < mean(16, 0.7)["symbol_bias"]
    assert mean(64, 0.5)["rule_entropy"] == pytest.approx(2 - 0.5**2 / 2, abs=0.01)
    assert mean(64, 1.0)["rule_entropy"] == pytest.approx(2 - 1 / 2, abs=0.05)
    assert mean(64, 4.0)["rule_entropy"] < 0.4


def test_statistics_of_a_hand_made_grammar():
    """Both symbols become 01: everything is known."""
    rules = torch.zeros(2, 2, 2, dtype=torch.float64)
    rules[:, 0, 1] = 1
    row = rule_statistics(RandomGrammar.from_rules(rules, 1))
    assert (row.pair_correlation, row.rule_entropy) == (0.0, 0.0)
    assert row.symbol_bias == 0.0  # as many 0s on the left as 1s on the right


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (0, 4, r"`position` must be a position of the sentence, 0 to 3\. Received 4\."),
        (-1, 2, r"`position` must be a position of the sentence, 0 to 3\. Received -1\."),
        (2, 2, r"`second` must lie after `first` \(2\)\. Received 2\."),
    ],
)
def test_bad_pairs(first, second, message):
    with pytest.raises(InvalidValueError, match=message):
        pair_distribution(RandomGrammar(3, 2, 1.0), first, second)
