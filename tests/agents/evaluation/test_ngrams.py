from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from agents.evaluation.ngrams import NgramTable, self_bleu


def tables(texts: list[list[int]]) -> list[NgramTable]:
    return [NgramTable(texts, n) for n in (1, 2, 3, 4)]


def lengths(texts: list[list[int]]) -> np.ndarray:
    return np.array([len(text) for text in texts])


def test_distinct_by_hand() -> None:
    texts = [[1, 2, 1], [2, 1], [5], []]
    everyone, two = np.ones(4, bool), np.array([True, True, False, False])
    assert NgramTable(texts, 1).distinct(everyone) == 3 / 6
    assert NgramTable(texts, 1).distinct(two) == 2 / 5
    assert NgramTable(texts, 2).distinct(everyone) == 2 / 3  # 12, 21; none across two texts
    assert NgramTable(texts, 2).distinct(~two) == 0.0
    assert NgramTable([[7] * 9], 4).distinct(np.array([True])) == 1 / 6
    assert sorted(NgramTable(texts, 1).occurrences(everyone).tolist()) == [1, 2, 3]


def test_self_bleu_by_hand() -> None:
    """Both share 1 2 3 4 and nothing else: precisions 4/5, 3/4, 2/3, 1/2 and no brevity penalty."""
    texts = [[1, 2, 3, 4, 5], [6, 1, 2, 3, 4]]
    assert self_bleu(tables(texts), lengths(texts)) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    # The same text twice, and the first half of it, which pays for being short: exp(1 - 8/4).
    texts = [[1, 2, 3, 4, 5, 6, 7, 8]] * 2 + [[1, 2, 3, 4]]
    assert self_bleu(tables(texts), lengths(texts)) == pytest.approx((1 + 1 + math.exp(-1)) / 3)


def slow_self_bleu(texts: list[list[int]]) -> float:
    """BLEU-4 of each text against all others, from its definition, smoothed as nltk's method 1."""

    def grams(text: list[int], n: int) -> Counter:
        return Counter(tuple(text[start : start + n]) for start in range(len(text) - n + 1))

    scores = []
    for index, text in enumerate(texts):
        others, logs = texts[:index] + texts[index + 1 :], []
        for n in (1, 2, 3, 4):
            counts, most = grams(text, n), Counter()
            for other in others:
                most |= grams(other, n)
            matches = sum(min(count, most[gram]) for gram, count in counts.items())
            logs.append(math.log((matches or 0.1) / sum(counts.values())))
        nearest = min((abs(len(other) - len(text)), len(other)) for other in others)[1]
        brevity = 1.0 if len(text) > nearest else math.exp(1 - nearest / len(text))
        scores.append(brevity * math.exp(sum(logs) / 4))
    return sum(scores) / len(scores)


def test_self_bleu_the_slow_way() -> None:
    generator = np.random.default_rng(0)
    for tokens in (3, 8, 100):
        texts = [generator.integers(0, tokens, generator.integers(4, 14)).tolist() for _ in range(25)]
        assert self_bleu(tables(texts), lengths(texts)) == pytest.approx(slow_self_bleu(texts))
        kept = generator.random(25) < 0.6
        some = [text for text, is_kept in zip(texts, kept, strict=True) if is_kept]
        assert self_bleu(tables(texts), lengths(texts), kept) == pytest.approx(slow_self_bleu(some))


def test_short_texts_have_no_say() -> None:
    texts = [[1, 2, 3, 4, 5], [6, 1, 2, 3, 4]]
    with_short = [[], [1, 2, 3], *texts, [5]]
    assert self_bleu(tables(with_short), lengths(with_short)) == self_bleu(tables(texts), lengths(texts))
    assert self_bleu(tables([[1, 2, 3], []]), np.array([3, 0])) == 0.0
