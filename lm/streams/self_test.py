"""Self-test of a stream: predictions token by token must equal those for the whole text.

As in :mod:`lm.models.self_test`, the test uses random tokens; a model that fails is refused by an error that names its
architecture.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lm.models.self_test import Outputs, naming, probe_of, random_texts, read, require_equal, require_sizes
from lm.streams.protocol import DecodingStream

_NUM_STEPS = 3
_SHORT = 6
_FOCUS_BIAS = 2.0

OpenStream = Callable[[PreTrainedModel, int, int], DecodingStream]

_lock = threading.RLock()
_tested: weakref.WeakKeyDictionary[PreTrainedModel, int] = weakref.WeakKeyDictionary()
"""Largest capacity [tokens] that each model has passed the test with."""


def require_token_by_token(model: PreTrainedModel, capacity: int, open_stream: OpenStream, *, ours: bool) -> None:
    """Checks that a stream and the model predict the same for whole texts; once per model and capacity.

    Rows of different lengths, including a full and an empty one, are read in parts, reset and copied. The states of
    random number generators do not change.

    Args:
        model: model in evaluation mode.
        capacity: capacity of the stream [tokens].
        open_stream: opens a stream, without this test.
        ours: whether the model is a GatedTransformer. It has no attention windows, so that one short test serves every
            capacity, and its exceptions are internal errors, which are not converted.

    Raises:
        ModelFolderError: predictions differ, or the model cannot read token by token; names the architecture.
    """
    with _lock:
        if capacity < 2 or _tested.get(model, 0) >= capacity:
            return
        with naming(model, ours=ours):
            tested = min(_SHORT + _NUM_STEPS, model.config.max_position_embeddings) if ours else capacity
            _compare_with_whole_texts(model, tested, open_stream, has_focus=not ours)
        _tested[model] = sys.maxsize if ours else capacity


def _compare_with_whole_texts(
    model: PreTrainedModel, capacity: int, open_stream: OpenStream, *, has_focus: bool
) -> None:
    probe = probe_of(model)
    num_steps = min(_NUM_STEPS, capacity - 1)
    lengths = torch.tensor([capacity, 0, _NUM_STEPS, _SHORT], device=model.device).clamp(max=capacity - num_steps)
    rows = torch.arange(len(lengths), device=model.device)
    texts = random_texts(probe, len(lengths), capacity)
    whole = [read(probe, texts[row, : int(lengths[row]) + num_steps]) for row in rows]
    require_sizes(model, whole[0])
    for part in {min(_SHORT, capacity), capacity // 2}:
        of_part = read(probe, texts[0, :part])
        beginning = _rows(whole[0], slice(part))
        require_equal(model, of_part, beginning, f"predictions change with the length of the text, up to {capacity}")

    def expected(places: Tensor, of: Tensor) -> Outputs:
        """Outputs (R, ...) after the token at each row's place (R,)."""
        pairs = list(zip(of.tolist(), places.tolist(), strict=True))
        logits, hidden = (torch.stack([whole[row][part][place] for row, place in pairs]) for part in (0, 1))
        return logits, hidden

    what = "predictions with a cache differ from those without"
    stream = open_stream(probe, len(rows), capacity)
    begun = stream.prefill(rows, texts[:, : max(int(lengths.max()), 1)], lengths)
    filled = lengths > 1
    for output, back in ((begun.newest, 1), (begun.before_newest, 2)):
        require_equal(model, _rows(output, filled), expected(lengths[filled] - back, rows[filled]), what)

    require_equal(model, stream.peek(texts[rows, lengths]), expected(lengths, rows), what)

    other, permuted = open_stream(probe, len(rows), capacity), rows.flip(0)
    other.prefill(rows, texts.flip(1)[:, :2], torch.full_like(lengths, 2).clamp(max=capacity))
    other.copy_rows(stream, rows, lengths[permuted], permuted)
    copied = other.step(texts[permuted, lengths[permuted]])
    require_equal(model, copied, expected(lengths[permuted], permuted), "predictions of a copied row differ")

    for step in range(num_steps):
        tokens = texts[rows, lengths + step]
        if step == 1:  # two rows are reset in between, at their current length
            again = torch.tensor([2, 1], device=model.device)
            stream.prefill(again, texts[again, : int(lengths[again].max()) + step], lengths[again] + step)
        if has_focus and step == 0:
            bias = torch.full(lengths.shape, _FOCUS_BIAS, dtype=torch.float32, device=model.device)
            biased = stream.peek(tokens, None, bias)
            require_equal(
                model, _rows(biased, rows[2:3]), _with_bias(probe, texts[2, : int(lengths[2]) + 1]),
                "attention does not take a bias by distance",
            )  # fmt: skip
        require_equal(model, stream.step(tokens), expected(lengths + step, rows), what)


def _with_bias(model: PreTrainedModel, ids: Tensor) -> Outputs:
    """Outputs (1, ...) after a text (T,) whose newest token attends with the focus bias, computed by its formula."""
    length = len(ids)
    mask = torch.full((length, length), -torch.inf, dtype=model.dtype, device=ids.device).triu(1)
    keys = torch.arange(length, device=ids.device)
    mask[-1] += -_FOCUS_BIAS * (length - 1 - keys).to(mask.dtype) / max(length - 1, 1)
    whole = read(model, ids, attention_mask=mask[None, None], position_ids=keys[None])
    return _rows(whole, slice(-1, None))


def _rows(outputs: Outputs, rows: Tensor | slice) -> Outputs:
    logits, hidden = outputs
    return logits[rows], hidden[rows]
