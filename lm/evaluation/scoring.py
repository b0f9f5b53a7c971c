"""Scores of text under a model: surprisal and entropy per token, perplexity, bits per byte."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from lm.errors import InvalidValueError


@dataclass(frozen=True)
class TokenScores:
    """Scores of one document's tokens after its first (the beginning-of-text token); T tokens are scored."""

    token_ids: NDArray[np.int64]
    """(T,) the tokens scored."""

    surprisal: NDArray[np.float32]
    """(T,) −log p(token) [nats]."""

    entropy: NDArray[np.float32]
    """(T,) entropy of the distribution that the token was predicted with [nats]."""

    top_ids: NDArray[np.int64]
    """(T, k) most probable tokens, best first."""

    top_log_probs: NDArray[np.float32]
    """(T, k) their log probabilities [nats]."""


@dataclass(frozen=True)
class TextScore:
    """Summary of scored text."""

    num_tokens: int
    num_bytes: int
    loss: float
    """Mean surprisal [nats per token]."""
    entropy: float
    """Mean entropy of the predictions [nats]."""

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Σ nats / (ln 2 · Σ UTF-8 bytes): comparable across tokenizers."""
        return self.loss * self.num_tokens / (math.log(2) * self.num_bytes)


def score_tokens(
    model: PreTrainedModel,
    documents: Sequence[NDArray[np.integer]],
    *,
    context_length: int,
    batch_size: int = 16,
    top_k: int = 0,
) -> list[TokenScores]:
    """Score documents (each (T + 1,) ids, beginning-of-text first) token by token, each given all before it.

    A document longer than the context is read in windows that overlap by half, so that every token beyond the first
    window is predicted from at least half a context. Special tokens are no targets, as only the first token is one.
    """
    windows = [window for index, ids in enumerate(documents) for window in _windows(index, len(ids), context_length)]
    windows.sort(key=lambda window: window.stop - window.start)  # alike lengths together: little padding
    results = [
        TokenScores(
            token_ids=np.asarray(ids[1:], dtype=np.int64),
            surprisal=np.zeros(len(ids) - 1, np.float32),
            entropy=np.zeros(len(ids) - 1, np.float32),
            top_ids=np.zeros((len(ids) - 1, top_k), np.int64),
            top_log_probs=np.zeros((len(ids) - 1, top_k), np.float32),
        )
        for ids in documents
    ]
    was_training = model.training
    model.eval()
    try:
        for first in range(0, len(windows), batch_size):
            batch = windows[first : first + batch_size]
            for window, scored in zip(batch, _score_windows(model, documents, batch, top_k), strict=True):
                record = results[window.document]
                targets = slice(window.first_target - 1, window.stop - 1)
                record.surprisal[targets], record.entropy[targets] = scored.surprisal, scored.entropy
                record.top_ids[targets], record.top_log_probs[targets] = scored.top_ids, scored.top_log_probs
    finally:
        model.train(was_training)
    return results


def summarize(scores: Iterable[TokenScores], num_bytes: int) -> TextScore:
    """Summary of scored documents that hold `num_bytes` bytes of text together.

    Raises:
        InvalidValueError: no token was scored.
    """
    records = list(scores)
    num_tokens = sum(len(record.surprisal) for record in records)
    if not num_tokens or not num_bytes:
        raise InvalidValueError("text", "must hold at least one token", f"{num_tokens} tokens, {num_bytes} bytes")
    return TextScore(
        num_tokens=num_tokens,
        num_bytes=num_bytes,
        loss=sum(float(record.surprisal.sum(dtype=np.float64)) for record in records) / num_tokens,
        entropy=sum(float(record.entropy.sum(dtype=np.float64)) for record in records) / num_tokens,
    )


@dataclass(frozen=True)
class _Window:
    document: int
    start: int
    first_target: int
    """Index in the document of the first token that this window scores; earlier ones are context."""
    stop: int


def _windows(document: int, length: int, context_length: int) -> Iterator[_Window]:
    first_target = 1
    while first_target < length:
        start = 0 if first_target == 1 else first_target - context_length // 2
        stop = min(start + context_length, length)
        yield _Window(document, start, first_target, stop)
        first_target = stop


@torch.inference_mode()
def _score_windows(
    model: PreTrainedModel, documents: Sequence[NDArray[np.integer]], windows: Sequence[_Window], top_k: int
) -> Iterator[TokenScores]:
    # Right padding needs no mask under causal attention: no scored token attends to it.
    longest = max(window.stop - window.start for window in windows)
    ids = torch.zeros((len(windows), longest), dtype=torch.int64)
    for row, window in enumerate(windows):
        piece = np.asarray(documents[window.document][window.start : window.stop], dtype=np.int64)
        ids[row, : len(piece)] = torch.from_numpy(piece)
    logits = model(input_ids=ids.to(model.device), use_cache=False).logits[:, :-1]  # (B, T, V)
    for row, window in enumerate(windows):
        # Window by window, and without the context before the targets: what is computed fits into the cache.
        kept = slice(window.first_target - window.start - 1, window.stop - window.start - 1)
        targets = ids[row, 1:][kept]
        log_probs = logits[row, kept].float().cpu().log_softmax(dim=-1)  # (T, V)
        top = log_probs.topk(top_k, dim=-1) if top_k else None
        empty: Tensor = log_probs[:, :0]
        yield TokenScores(
            token_ids=targets.numpy(),
            surprisal=-log_probs.gather(-1, targets[:, None]).squeeze(-1).numpy(),
            entropy=-(log_probs.exp() * log_probs).sum(dim=-1).numpy(),
            top_ids=(top.indices if top else empty.long()).numpy(),
            top_log_probs=(top.values if top else empty).numpy(),
        )
