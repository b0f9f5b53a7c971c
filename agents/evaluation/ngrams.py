"""N-gram statistics of a set of texts: distinct n-grams and self-BLEU.

All statistics can be computed for a subset of the texts, as the jackknife needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SMOOTHING = 0.1
"""Number of matches used in place of 0 (method 1 of Chen and Cherry 2014)."""


class NgramTable:
    """Table of the n-grams of T texts with their counts.

    Args:
        texts: token ids; a text shorter than n has no n-gram.
        n: order of the n-grams, at least 1.
    """

    def __init__(self, texts: Sequence[Sequence[int]], n: int) -> None:
        lengths = np.array([len(text) for text in texts], np.int64)
        tokens = np.array([token for text in texts for token in text], np.int64)
        grams = np.zeros_like(tokens)
        for shift in range(n):  # the rank of the first tokens and the next token give the rank of one more
            tokens_there = np.roll(tokens, -shift)
            pairs = grams * (tokens.max(initial=0) + 1) + tokens_there
            grams = np.unique(pairs, return_inverse=True)[1]
        places = np.arange(len(tokens)) - np.repeat(lengths.cumsum() - lengths, lengths)
        is_whole = places + n <= np.repeat(lengths, lengths)
        owners = np.repeat(np.arange(len(texts)), lengths)[is_whole]
        pairs, counts = np.unique(grams[is_whole] * len(texts) + owners, return_counts=True)
        grams, owners = np.divmod(pairs, len(texts))
        order = np.lexsort((-counts, grams))
        self.num_texts = len(texts)
        self.grams = grams[order]
        """(E,) rank of the n-gram of each entry, ascending; entries of an n-gram by descending count."""
        self.owners: NDArray[np.int64] = owners[order]
        """(E,) text of each entry."""
        self.counts: NDArray[np.int64] = counts[order]
        """(E,) count of the n-gram in the text."""

    def occurrences(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Number of occurrences of each n-gram in the kept (T,) texts, 0 included."""
        return np.bincount(self.grams, weights=self.counts * kept[self.owners]).astype(np.int64)

    def distinct(self, kept: NDArray[np.bool_]) -> float:
        """Distinct n-grams / n-grams of all kept (T,) texts together (Li et al. 2016, arXiv:1510.03055)."""
        occurrences = self.occurrences(kept)
        return float(np.count_nonzero(occurrences) / max(1, occurrences.sum()))

    def precisions(self, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(T,) BLEU's clipped n-gram precision of each text against the other kept texts."""
        is_kept = kept[self.owners]
        grams, owners, counts = self.grams[is_kept], self.owners[is_kept], self.counts[is_kept]
        is_first = np.diff(grams, prepend=-1) > 0
        firsts = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]  # (E,) first entry of the n-gram
        seconds = np.minimum(firsts + 1, len(grams) - 1)
        runner_up = np.where(grams[seconds] == grams, counts[seconds], 0) * (seconds > firsts)
        most_elsewhere = np.where(is_first, runner_up, counts[firsts])
        matches = np.bincount(owners, weights=np.minimum(counts, most_elsewhere), minlength=self.num_texts)
        totals = np.bincount(owners, weights=counts, minlength=self.num_texts)
        return np.where(matches > 0, matches, _SMOOTHING) / np.maximum(totals, 1)


def self_bleu(tables: Sequence[NgramTable], lengths: NDArray[np.int64], kept: NDArray[np.bool_] | None = None) -> float:
    """Self-BLEU: mean BLEU of each text against all others, in [0, 1]; higher for more similar texts.

    Source: Zhu et al. 2018 (arXiv:1802.01886); sentence BLEU of Papineni et al. 2002, smoothed by method 1 of Chen and
    Cherry 2014, equal to nltk's `sentence_bleu`. Texts shorter than the longest n-gram are excluded.

    Args:
        tables: n-gram tables of the orders 1, 2, ..., with equal weights.
        lengths: (T,) lengths of the texts [tokens].
        kept: (T,) mask of the texts to use; None: all.
    """
    kept = (np.ones(len(lengths), bool) if kept is None else kept) & (lengths >= len(tables))
    if kept.sum() < 2:
        return 0.0
    precisions = np.stack([table.precisions(kept) for table in tables])[:, kept]  # (orders, K)
    brevity = _brevity(lengths[kept])
    return float((brevity * np.exp(np.log(precisions).mean(axis=0))).mean())


def _brevity(lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """BLEU's brevity penalty (K,) of each text, for the closest length of another text, the shorter one in ties."""
    penalties = {}
    for length in np.unique(lengths):
        others = np.delete(lengths, np.flatnonzero(lengths == length)[0])
        nearest = min(np.unique(others), key=lambda other: (abs(other - length), other))
        penalties[length] = 1.0 if length > nearest else float(np.exp(1.0 - nearest / length))
    return np.array([penalties[length] for length in lengths])
