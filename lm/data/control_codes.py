"""Control codes: gate signals in pretraining, from statistics of each text segment.

A window is cut into segments; each segment's tokens carry three signals in [0, 1]:

- creativity: percentile of the mean unigram surprisal [nats] (0.5 is ordinary text);
- focus: how far above the median the nearness of re-used tokens is, ``max(0, 2 percentile - 1)``;
- stability: how far above the median distinct-1 is, ``max(0, 2 percentile - 1)``.

So 0.5, 0, 0 is neutral, as in the gates' formula (``lm.models.DynamicGate``). Each signal is replaced by its neutral
value in half of the rows, so that each gate is also trained alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.data.control_code_config import ControlCodeConfig
from lm.errors import InvalidValueError
from lm.models.gate_names import NEUTRAL_GATES


def segment_statistics(segments: Tensor, unigram_surprisal: Tensor) -> Tensor:
    """Raw statistics (B, 3) of segments (B, L) of token ids; larger values mean more creativity, focus, stability.

    Mean unigram surprisal [nats]; minus the mean log distance [log tokens] from a re-used token to its last use
    (distance L for segments without re-use); distinct-1 (different tokens / tokens).
    """
    length = segments.shape[1]
    distances = torch.arange(length)[:, None] - torch.arange(length)  # (L, L), query row, earlier column
    same_earlier = (segments[:, :, None] == segments[:, None, :]) & (distances > 0)
    distance = torch.where(same_earlier, distances, length).amin(dim=2)  # (B, L), L where the token is new
    is_reuse = distance < length
    log_distance = torch.where(is_reuse, distance.float().log(), 0.0).sum(dim=1) / is_reuse.sum(dim=1).clamp(min=1)
    nearness = -torch.where(is_reuse.any(dim=1), log_distance, np.log(length))
    distinct = 1.0 - is_reuse.float().mean(dim=1)
    return torch.stack((unigram_surprisal[segments].mean(dim=1), nearness, distinct), dim=1)


class ControlCodes:
    """Turns windows of tokens into gate signals, by percentiles over a sample of the training text."""

    def __init__(self, tokens: NDArray[np.integer], vocab_size: int, config: ControlCodeConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        counts = np.bincount(tokens, minlength=vocab_size) + 1.0
        self._unigram_surprisal = torch.from_numpy(-np.log(counts / counts.sum())).float()
        starts = np.random.default_rng(seed).integers(0, len(tokens) - config.segment_length, size=8192)
        sample = np.stack([tokens[start : start + config.segment_length] for start in starts]).astype(np.int64)
        statistics = segment_statistics(torch.from_numpy(sample), self._unigram_surprisal)
        self._sorted = statistics.sort(dim=0).values.T.contiguous()  # (3, 8192)

    def signals(self, windows: Tensor) -> Tensor:
        """Gate signals (B, S, 3) of the S segments of windows (B, T).

        Raises:
            InvalidValueError: the segment length does not divide T.
        """
        if windows.shape[1] % self.config.segment_length:
            rule = f"must divide the window length ({windows.shape[1]})"
            raise InvalidValueError("segment_length", rule, self.config.segment_length)
        segments = windows.reshape(-1, self.config.segment_length)
        percentile = self._percentiles(segment_statistics(segments, self._unigram_surprisal))
        above_median = (2 * percentile - 1).clamp(min=0)
        signals = torch.stack((percentile[:, 0], above_median[:, 1], above_median[:, 2]), dim=1)
        return signals.view(len(windows), -1, 3)

    def _percentiles(self, statistics: Tensor) -> Tensor:
        values = statistics.T.contiguous()
        ranks = torch.searchsorted(self._sorted, values) + torch.searchsorted(self._sorted, values, right=True)
        return (ranks / (2 * self._sorted.shape[1])).T  # middle rank: ties share one percentile

    @staticmethod
    def plain_batch(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Collate items ``{"input_ids": (T,)}`` into a training batch (B, T) without gate signals."""
        windows = torch.stack([item["input_ids"] for item in items])
        return {"input_ids": windows, "labels": windows}

    def __call__(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Collate items ``{"input_ids": (T,)}`` into a training batch, with gate signals (B, S, 3) on some batches."""
        batch = self.plain_batch(items)
        windows = batch["input_ids"]
        # Seeded by the batch: a resumed run skips batches, but must draw the same numbers.
        random = np.random.default_rng((self.seed, int(windows.sum())))
        if random.random() < self.config.batch_probability:
            is_dropped = random.random((len(windows), 1, 3)) < self.config.neutral_probability
            neutral = torch.tensor(NEUTRAL_GATES, dtype=torch.float32)
            signals = torch.where(torch.from_numpy(is_dropped), neutral, self.signals(windows))
            batch["gate_signals"] = signals
        return batch
