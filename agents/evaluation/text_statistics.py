"""Diversity statistics of generated text: distinct-n and repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextStatistics:
    """Mean statistics over texts; texts shorter than n tokens are excluded from n-gram statistics."""

    distinct_1_per_text: float
    """Mean distinct-1 of a text: distinct tokens / tokens, in (0, 1] (Li et al. 2016, arXiv:1510.03055)."""
    distinct_2_per_text: float
    """Mean distinct-2 of a text: distinct bigrams / bigrams, in (0, 1]."""
    repetition_4: float
    """Mean share of 4-grams that repeat an earlier one of the text, in [0, 1) (seq-rep-4, arXiv:1908.04319)."""
    length: float
    """Mean length of a text [tokens]."""


def text_statistics(texts: Sequence[Sequence[int]]) -> TextStatistics:
    """Statistics of texts given as token ids, at least one of them not empty."""
    return TextStatistics(
        distinct_1_per_text=_mean([distinct(text, 1) for text in texts if len(text) >= 1]),
        distinct_2_per_text=_mean([distinct(text, 2) for text in texts if len(text) >= 2]),
        repetition_4=_mean([1.0 - distinct(text, 4) for text in texts if len(text) >= 4]),
        length=_mean([float(len(text)) for text in texts]),
    )


def distinct(text: Sequence[int], n: int) -> float:
    """Distinct n-grams / n-grams of a text with at least n tokens."""
    grams = [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
