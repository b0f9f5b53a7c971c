"""Exact statistics of a grammar: entropy of sentences, symbol and pair statistics, entropy of rules."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lm.errors import InvalidValueError
from lm.rlm.grammar import RandomGrammar

ENUMERABLE_SENTENCES = 1 << 18
"""Most sentences v^T that entropies are summed over; above, they are sampled."""

_BATCH = 1024


@dataclass(frozen=True)
class Estimate:
    """An estimate with its standard error."""

    value: float
    """Value of the estimate."""
    standard_error: float
    """Standard error of the Monte Carlo mean; 0 for exact values."""

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.standard_error:.4f}" if self.standard_error else f"{self.value:.4f}"


@dataclass(frozen=True)
class SentenceEntropy:
    """Entropy of a grammar's sentences, total and by position [nats]."""

    total: Estimate
    """Entropy of a sentence."""
    by_position: tuple[Estimate, ...]
    """T entropies of x_t given x_<t: the minimum expected loss at each position."""
    is_exact: bool
    """Whether all sentences were enumerated."""

    @property
    def last(self) -> Estimate:
        """Entropy of the last symbol given all others."""
        return self.by_position[-1]


def sentence_entropy(
    grammar: RandomGrammar, *, samples: int = 8192, generator: torch.Generator | None = None
) -> SentenceEntropy:
    """Entropy of the sentences: exact for up to 2^18 different ones, else the mean over sampled ones.

    What is averaged over samples is the exact entropy of each posterior, not the surprisal of what was drawn, which
    makes the standard error several times smaller.

    Args:
        grammar: of the sentences.
        samples: sentences drawn where there are too many to enumerate, at least 2.
        generator: as for :meth:`RandomGrammar.sample`.

    Raises:
        InvalidValueError: fewer than 2 samples.
    """
    if samples < 2:
        raise InvalidValueError("samples", "must be at least 2", samples)
    is_exact = grammar.sentence_length * math.log(grammar.vocab_size) <= math.log(ENUMERABLE_SENTENCES) + 1e-9
    sentences = _all_sentences(grammar) if is_exact else grammar.sample(samples, generator)
    entropies, weights = [], []
    for batch in sentences.split(_BATCH):
        posterior = grammar.next_token_posterior(batch)
        entropies.append(torch.special.entr(posterior).sum(dim=2))  # (B, T)
        if is_exact:
            weights.append(posterior.gather(2, batch.unsqueeze(2)).squeeze(2).prod(dim=1))
    values = torch.cat(entropies).double()
    values = torch.cat((values, values.sum(dim=1, keepdim=True)), dim=1)  # (B, T + 1)
    if is_exact:
        means, errors = torch.cat(weights).double() @ values, torch.zeros(values.shape[1], dtype=values.dtype)
    else:
        means, errors = values.mean(dim=0), values.std(dim=0) / math.sqrt(len(values))
    *by_position, total = map(Estimate, means.tolist(), errors.tolist())
    return SentenceEntropy(total, tuple(by_position), is_exact)


def _all_sentences(grammar: RandomGrammar) -> Tensor:
    symbols = torch.arange(grammar.vocab_size, device=grammar.rules.device)
    return torch.cartesian_prod(*[symbols] * grammar.sentence_length)


def leaf_given_root(grammar: RandomGrammar, position: int) -> Tensor:
    """P(x_t = b | root = a), (v, v) as [a, b], summed over everything else."""
    return _descend(grammar, _path(grammar, position))


def leaf_distribution(grammar: RandomGrammar, position: int) -> Tensor:
    """P(x_t), (v,)."""
    return leaf_given_root(grammar, position).mean(dim=0)


def pair_distribution(grammar: RandomGrammar, first: int, second: int) -> Tensor:
    """P(x_i = b, x_j = c), (v, v), of two leaves i < j.

    They meet in their lowest common ancestor, and below its children their paths are Markov chains:
    P = D_i^T (Σ_a P(ancestor = a) M_a) D_j with the transition matrices D of the two paths.

    Raises:
        InvalidValueError: not two positions of the sentence, or not in this order.
    """
    path, other = _path(grammar, first), _path(grammar, second)
    if first >= second:
        raise InvalidValueError("second", f"must lie after `first` ({first})", second)
    height = tree_distance(first, second)
    split = grammar.depth - height  # the level of the common ancestor
    ancestor = _descend(grammar, path[:split]).mean(dim=0)
    children = torch.einsum("a,abc->bc", ancestor, grammar.rules)
    return _descend(grammar, path[split + 1 :]).T @ children @ _descend(grammar, other[split + 1 :])


def tree_distance(first: int, second: int) -> int:
    """Levels up to the lowest common ancestor of two leaves: 1 for siblings, 2 for cousins, ..."""
    return (first ^ second).bit_length()


@dataclass(frozen=True)
class PairStatistics:
    """Dependence of two leaves, averaged over all pairs at one distance."""

    distance: int
    """Levels up to the lowest common ancestor."""
    mutual_information: float
    """[nats]."""
    correlation: float
    """√(v² Σ_bc (P(b, c) − P(b) P(c))²): root mean square deviation from independence, relative to 1/v²."""


def pair_statistics(grammar: RandomGrammar) -> list[PairStatistics]:
    """Pair statistics of leaves at each distance 1 to L."""
    statistics = []
    for distance in range(1, grammar.depth + 1):
        informations, correlations = [], []
        for first in range(grammar.sentence_length):
            for second in range(first + 1, grammar.sentence_length):
                if tree_distance(first, second) == distance:
                    joint = pair_distribution(grammar, first, second)
                    informations.append(mutual_information(joint))
                    correlations.append(_deviation(joint))
        count = len(informations)
        statistics.append(PairStatistics(distance, sum(informations) / count, sum(correlations) / count))
    return statistics


def mutual_information(joint: Tensor) -> float:
    """I = H(x) + H(y) − H(x, y) [nats] of a joint distribution (v, v), at least 0."""
    entropies = [torch.special.entr(part.double()).sum() for part in (joint.sum(dim=1), joint.sum(dim=0), joint)]
    return max(0.0, float(entropies[0] + entropies[1] - entropies[2]))


def _deviation(joint: Tensor) -> float:
    difference = joint - joint.sum(dim=1, keepdim=True) * joint.sum(dim=0, keepdim=True)
    return float(difference.square().sum().sqrt() * len(joint))


@dataclass(frozen=True)
class RuleStatistics:
    """Statistics of rules that change with β, for large v at the transitions β = 1, √2 and 2 of De Giuli 2019."""

    pair_correlation: float
    """Correlation of the two children of a node (see :class:`PairStatistics`): grows with v from β = 1 on."""
    symbol_bias: float
    """√(v Σ_b (P(b) − 1/v)²), b a child of a node, root mean square deviation from 1/v, relative: from √2 on."""
    rule_entropy: float
    """Mean entropy of a parent's rules over ln v: 2 − β²/2 for large v, so that it is gone at β = 2."""


def rule_statistics(grammar: RandomGrammar) -> RuleStatistics:
    """Rule statistics of a grammar; grammars with equal seeds differ by β only and give smooth curves over β."""
    v = grammar.vocab_size
    pair = grammar.rules.mean(dim=0)  # under a uniform parent
    symbol = (pair.sum(dim=0) + pair.sum(dim=1)) / 2
    entropy = torch.special.entr(grammar.rules).sum(dim=(1, 2)).mean()
    return RuleStatistics(
        pair_correlation=_deviation(pair),
        symbol_bias=float((symbol - 1 / v).square().sum().mul(v).sqrt()),
        rule_entropy=float(entropy) / math.log(v),
    )


def _path(grammar: RandomGrammar, position: int) -> list[int]:
    """The way from the root to a leaf, 0 for left and 1 for right."""
    if not 0 <= position < grammar.sentence_length:
        rule = f"must be a position of the sentence, 0 to {grammar.sentence_length - 1}"
        raise InvalidValueError("position", rule, position)
    return [position >> level & 1 for level in reversed(range(grammar.depth))]


def _descend(grammar: RandomGrammar, path: list[int]) -> Tensor:
    """P(symbol at the end of a path | symbol at its beginning), (v, v)."""
    transition = torch.eye(grammar.vocab_size, dtype=grammar.rules.dtype, device=grammar.rules.device)
    for side in path:
        transition = transition @ grammar.rules.sum(dim=2 - side)
    return transition
