"""Datasets of a grammar's sentences for transformers' Trainer: an unlimited stream, or a fixed set."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from lm.errors import InvalidValueError
from lm.rlm.tasks import Examples, Task

_CHUNK = 4096
"""About as many examples are drawn at once."""


def generator_of(task: Task, *seeds: int) -> torch.Generator:
    """A generator for examples; different numbers give streams that share nothing."""
    # With their count, since numpy takes zeros at the end for nothing.
    sequence = np.random.SeedSequence((len(seeds), *seeds))
    return task.grammar.new_generator(int(sequence.generate_state(1, np.uint64)[0] >> 1))


class SentenceStream(IterableDataset):
    """Unlimited stream of new examples ``{"input_ids": (S + 1,), "labels": (S + 1,)}``.

    Each worker of a DataLoader and each process of a distributed run has a stream of its own. Iterating again gives the
    same examples again.

    Args:
        task: task of the examples.
        seed: of the stream, at least 0.
        batch_size: None for items that are single examples; else they are whole batches (B, S + 1), for a DataLoader
            with `batch_size=None`: collating single examples costs more than a small model's step.
    """

    def __init__(self, task: Task, seed: int, batch_size: int | None = None) -> None:
        self.task = task
        self.seed = seed
        self.batch_size = batch_size
        self._chunk = _CHUNK if batch_size is None else batch_size * max(1, _CHUNK // batch_size)
        self.rank = int(os.environ.get("RANK", "0"))  # as torchrun and accelerate tell it

    def first(self, count: int) -> Examples:
        """The examples that a single process without workers sees first."""
        return _examples(self.task, count, generator_of(self.task, self.seed, 0, 0), self._chunk)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        generator = generator_of(self.task, self.seed, self.rank, 0 if worker is None else worker.id)
        while True:
            rows = self.task.sample(self._chunk, generator).as_language()
            parts = (rows[name].split(self.batch_size) if self.batch_size else rows[name] for name in rows)
            for input_ids, labels in zip(*parts, strict=True):
                yield {"input_ids": input_ids, "labels": labels}


class SentenceSet(Dataset):
    """A fixed number of examples, items as in :class:`SentenceStream`.

    Args:
        task: task of the examples.
        size: number of examples, at least 1.
        seed: of the set, at least 0; sets of one seed begin alike, whatever their size.
    """

    def __init__(self, task: Task, size: int, seed: int) -> None:
        if size < 1:
            raise InvalidValueError("size", "must be at least 1", size)
        self.examples = _examples(task, size, generator_of(task, seed), _CHUNK)
        """All of them."""
        self._rows = self.examples.as_language()

    def __len__(self) -> int:
        return len(self.examples.answers)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: rows[index] for name, rows in self._rows.items()}


def _examples(task: Task, count: int, generator: torch.Generator, chunk: int) -> Examples:
    """The first examples of a generator that draws so many at once: what comes out depends on that number."""
    chunks = [task.sample(chunk, generator) for _ in range(-(-count // chunk))]
    return Examples(*(torch.cat(parts)[:count] for parts in zip(*chunks, strict=True)))
