"""Reference statistics of a model: mean entropy on human text, unigram counts and bigram counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.errors import CheckpointError, ModelFolderError
from lm.runs.tensors.tensor_files import Form, read_tensors, write_tensors

FILE_NAME = "reference_statistics.safetensors"

_COUNTS = ("U16", "U32")
_FORMS = {
    "human_entropy": Form(("F64",), 1),
    "unigram_counts": Form(_COUNTS, 1),
    "bigram_row_lengths": Form(_COUNTS, 1),
    "bigram_columns": Form(_COUNTS, 1),
    "bigram_counts": Form(_COUNTS, 1),
}
"""Required shape and data type of each tensor in a file."""


@dataclass(frozen=True, eq=False)
class ReferenceStatistics:
    """Statistics of a model and of the text that it was trained on."""

    human_entropy: float
    """H*: mean entropy of the model's next-token distribution on held-out human text [nats]."""

    unigram_counts: Tensor
    """(V,) int64, occurrences of each token in the training text."""

    bigram_keys: Tensor
    """(E,) int64, ascending: first * V + second of each bigram that occurs."""

    bigram_counts: Tensor
    """(E,) int64, occurrences of each bigram."""

    @classmethod
    def from_tokens(cls, tokens: NDArray[np.integer], vocab_size: int, human_entropy: float) -> ReferenceStatistics:
        """Count a token stream (M,)."""
        ids = tokens.astype(np.int64)
        keys, counts = np.unique(ids[:-1] * vocab_size + ids[1:], return_counts=True)
        unigrams = np.bincount(ids, minlength=vocab_size)
        return cls(human_entropy, *(torch.from_numpy(array.astype(np.int64)) for array in (unigrams, keys, counts)))

    @property
    def vocab_size(self) -> int:
        """Vocabulary size V."""
        return len(self.unigram_counts)

    def unigram_log_prob(self) -> Tensor:
        """(V,) log probabilities [nats], add-one smoothed."""
        counts = self.unigram_counts.float() + 1.0
        return (counts / counts.sum()).log()

    def bigram_log_prob(self, previous: Tensor, tokens: Tensor) -> Tensor:
        """log P(token given previous), add-one smoothed: ``log((count + 1) / (count(previous) + V))`` [nats].

        Args:
            previous: (N,) token ids.
            tokens: (N,) or (N, K) next token ids; the result has this shape.
        """
        if tokens.dim() == 2:
            previous = previous[:, None]
        keys = previous * self.vocab_size + tokens
        index = torch.searchsorted(self.bigram_keys, keys).clamp(max=len(self.bigram_keys) - 1)
        counts = torch.where(self.bigram_keys[index] == keys, self.bigram_counts[index], 0)
        return ((counts.float() + 1.0) / (self.unigram_counts[previous] + self.vocab_size)).log()

    def to(self, device: torch.device | str) -> ReferenceStatistics:
        """The same statistics on another device."""
        tensors = (self.unigram_counts, self.bigram_keys, self.bigram_counts)
        return ReferenceStatistics(self.human_entropy, *(tensor.to(device) for tensor in tensors))

    def save(self, path: str | Path) -> None:
        """Write a compact safetensors file: bigrams as sparse rows (row lengths, columns, counts)."""
        rows, columns = np.divmod(self.bigram_keys.numpy(), self.vocab_size)
        small = np.uint16 if self.vocab_size <= 1 << 16 else np.uint32
        counts = self.bigram_counts.numpy()
        arrays: dict[str, NDArray] = {
            "human_entropy": np.array([self.human_entropy], dtype=np.float64),
            "unigram_counts": self.unigram_counts.numpy().astype(np.uint32),
            "bigram_row_lengths": np.bincount(rows, minlength=self.vocab_size).astype(np.uint32),
            "bigram_columns": columns.astype(small),
            "bigram_counts": counts.astype(np.uint16 if counts.max() < 1 << 16 else np.uint32),
        }
        write_tensors(path, {name: torch.from_numpy(array) for name, array in arrays.items()})

    @classmethod
    def load(cls, path: str | Path) -> ReferenceStatistics:
        """Reads a file written by :meth:`save`.

        Raises:
            ModelFolderError: the file contains no reference statistics, or its checksum is wrong.
        """
        try:
            tensors, _ = read_tensors(path, _FORMS)
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            vocab_size = len(arrays["unigram_counts"])
            _require_bigrams(arrays)
            rows = np.repeat(np.arange(vocab_size, dtype=np.int64), arrays["bigram_row_lengths"])
            keys = rows * vocab_size + arrays["bigram_columns"].astype(np.int64)
            human_entropy = float(arrays["human_entropy"][0])
            if not 0 < human_entropy < np.inf:
                raise ValueError(f"its human entropy is {human_entropy}")
            if (np.diff(keys) <= 0).any():
                raise ValueError("its bigrams are not in order")
        except (CheckpointError, ValueError) as error:
            raise ModelFolderError(f"{path} does not hold reference statistics: {error}") from error
        counts = (arrays["unigram_counts"], keys, arrays["bigram_counts"])
        return cls(human_entropy, *(torch.from_numpy(array.astype(np.int64)) for array in counts))


def _require_bigrams(arrays: Mapping[str, NDArray]) -> None:
    """Raises ValueError if rows, columns and counts are inconsistent, before memory is allocated by row lengths."""
    lengths, columns = arrays["bigram_row_lengths"], arrays["bigram_columns"]
    vocab_size, num_pairs = len(arrays["unigram_counts"]), len(arrays["bigram_counts"])
    if len(lengths) != vocab_size or not int(lengths.sum(dtype=np.uint64)) == len(columns) == num_pairs:
        raise ValueError("its bigrams are not one or more pairs with a count each")
    if int(columns.max()) >= vocab_size:
        raise ValueError(f"its bigrams hold the token {int(columns.max())}, of a vocabulary of {vocab_size}")
