"""How varied generated text is: distinct-n and repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextStatistics:
    """Means over texts; a text shorter than n tokens has no say in a figure about n-grams."""

    distinct_1_per_text: float
    """Share of tokens that are new in their text, in (0, 1] (Li et al. 2016, arXiv:1510.03055)."""
    distinct_2_per_text: float
    """Share of bigrams that are new in their text, in (0, 1]."""
    repetition_4: float
    """Share of 4-grams that repeat an earlier one, in [0, 1) (seq-rep-4, Welleck et al. 2020, arXiv:1908.04319)."""
    length: float
    """Tokens of a text."""


def text_statistics(texts: Sequence[Sequence[int]]) -> TextStatistics:
    """Statistics of texts given as token ids, at least one of them not empty."""
    return TextStatistics(
        distinct_1_per_text=_mean([distinct(text, 1) for text in texts if len(text) >= 1]),
        distinct_2_per_text=_mean([distinct(text, 2) for text in texts if len(text) >= 2]),
        repetition_4=_mean([1.0 - distinct(text, 4) for text in texts if len(text) >= 4]),
        length=_mean([float(len(text)) for text in texts]),
    )


def distinct(text: Sequence[int], n: int) -> float:
    """Different n-grams / n-grams of a text with at least n tokens."""
    grams = [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
