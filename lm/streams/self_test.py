"""Self-test of a model: what it predicts token by token must be what it predicts for the whole text.

transformers' causal LMs differ in how they count positions, mask, cache and route. Instead of a list of those that fit,
each model is compared with itself on random tokens, and refused by name where the two disagree.
"""

from __future__ import annotations

import copy
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lm.errors import ModelFolderError, TidalGymError, first_line
from lm.models.text_config import text_config
from lm.streams.protocol import DecodingStream, StreamOutput

_NUM_STEPS = 3
_SHORT = 6
_FOCUS_BIAS = 2.0
_TOLERANCE = 1e-4
"""Root mean square error of logits or hidden states over their spread; float32 stays 100 times below it."""
_COARSE_TOLERANCE = 0.1
"""The same where products are rounded to 8 or 11 bits: large models in bfloat16 or float16, and TF32."""
_SMALL_MODEL = 250_000_000
"""Parameters up to which a model in bfloat16 or float16 is tested on a copy in float32."""

OpenStream = Callable[[PreTrainedModel, int, int], DecodingStream]

_lock = threading.RLock()
_tested: weakref.WeakKeyDictionary[PreTrainedModel, int] = weakref.WeakKeyDictionary()
"""Largest capacity [tokens] with which each model has passed."""


def require_causal(model: PreTrainedModel) -> None:
    """Check that the model predicts each token from those before it alone, whatever text follows or lies beside it.

    Raises:
        ModelFolderError: it does not, or its predictions are NaN; names the architecture.
    """
    with _naming(model):
        probe = _probe(model)
        length = min(2 * _SHORT, getattr(text_config(model), "max_position_embeddings", None) or 2 * _SHORT)
        texts = _texts(probe, 2, length)
        whole = _read(probe, texts[0])
        _require_sizes(model, whole)
        for part in (1, length // 2):
            alone = _read(probe, texts[0, :part])
            _require_equal(model, alone, _first(whole, part), "predictions change with the text that follows")
        beside = StreamOutput(*(values[0] for values in _forward(probe, texts)))
        _require_equal(model, beside, whole, "predictions change with the texts in the same batch")


def require_token_by_token(model: PreTrainedModel, capacity: int, open_stream: OpenStream, *, ours: bool) -> None:
    """Check that a stream over the model predicts what the model predicts for whole texts; once per model and capacity.

    Rows of different lengths, one of them as long as the stream can hold and one empty, are read in parts, begun anew
    and copied. The state of random number generators stays as it is.

    Args:
        model: in evaluation mode.
        capacity: of the stream [tokens].
        open_stream: opens a stream, without this test.
        ours: whether the model is a GatedTransformer. It has no windows, so one short test serves every capacity, and
            its exceptions are defects, which are not renamed.

    Raises:
        ModelFolderError: the two differ, or the model cannot be read in this way; names the architecture.
    """
    with _lock:
        if capacity < 2 or _tested.get(model, 0) >= capacity:
            return
        with _naming(model, ours=ours):
            tested = min(_SHORT + _NUM_STEPS, model.config.max_position_embeddings) if ours else capacity
            _compare_with_whole_texts(model, tested, open_stream, has_focus=not ours)
        _tested[model] = sys.maxsize if ours else capacity


def _compare_with_whole_texts(
    model: PreTrainedModel, capacity: int, open_stream: OpenStream, *, has_focus: bool
) -> None:
    probe = _probe(model)
    num_steps = min(_NUM_STEPS, capacity - 1)
    lengths = torch.tensor([capacity, 0, _NUM_STEPS, _SHORT], device=model.device).clamp(max=capacity - num_steps)
    rows = torch.arange(len(lengths), device=model.device)
    texts = _texts(probe, len(lengths), capacity)
    whole = [_read(probe, texts[row, : int(lengths[row]) + num_steps]) for row in rows]
    _require_sizes(model, whole[0])
    for part in {min(_SHORT, capacity), capacity // 2}:
        of_part = _read(probe, texts[0, :part])
        _require_equal(
            model, of_part, _first(whole[0], part), f"predictions change with the length of the text, up to {capacity}"
        )

    def expected(places: Tensor, of: Tensor) -> StreamOutput:
        """Outputs (R, ...) after the token at each row's place (R,)."""
        pairs = zip(of.tolist(), places.tolist(), strict=True)
        picked = [[values[place] for values in whole[row]] for row, place in pairs]
        return StreamOutput(*(torch.stack(values) for values in zip(*picked, strict=True)))

    what = "predictions with a cache differ from those without"
    stream = open_stream(probe, len(rows), capacity)
    begun = stream.prefill(rows, texts[:, : max(int(lengths.max()), 1)], lengths)
    filled = lengths > 1
    for output, back in ((begun.newest, 1), (begun.before_newest, 2)):
        _require_equal(model, _at(output, filled), expected(lengths[filled] - back, rows[filled]), what)

    _require_equal(model, stream.peek(texts[rows, lengths]), expected(lengths, rows), what)

    other, permuted = open_stream(probe, len(rows), capacity), rows.flip(0)
    other.prefill(rows, texts.flip(1)[:, :2], torch.full_like(lengths, 2).clamp(max=capacity))
    other.copy_rows(stream, rows, lengths[permuted], permuted)
    copied = other.step(texts[permuted, lengths[permuted]])
    _require_equal(model, copied, expected(lengths[permuted], permuted), "predictions of a copied row differ")

    for step in range(num_steps):
        tokens = texts[rows, lengths + step]
        if step == 1:  # two rows are begun anew on the way, at the length that they have
            again = torch.tensor([2, 1], device=model.device)
            stream.prefill(again, texts[again, : int(lengths[again].max()) + step], lengths[again] + step)
        if has_focus and step == 0:
            bias = torch.full(lengths.shape, _FOCUS_BIAS, dtype=torch.float32, device=model.device)
            biased = stream.peek(tokens, None, bias)
            _require_equal(
                model, _at(biased, rows[2:3]), _with_bias(probe, texts[2, : int(lengths[2]) + 1]),
                "attention does not take a bias by distance",
            )  # fmt: skip
        _require_equal(model, stream.step(tokens), expected(lengths + step, rows), what)


def _probe(model: PreTrainedModel) -> PreTrainedModel:
    """The model, or a copy in float32 of a small one in a coarser type: rounding must not hide what differs."""
    is_coarse = torch.finfo(model.dtype).bits < 32
    if is_coarse and model.num_parameters() <= _SMALL_MODEL:
        return copy.deepcopy(model).float()
    return model


def _texts(model: PreTrainedModel, num_rows: int, length: int) -> Tensor:
    """Random texts (N, T) that begin with the beginning-of-text token and hold no other special one."""
    config = text_config(model)
    special = {value for part in {id(config): config, id(model.config): model.config}.values()
               for name, value in vars(part).items()
               if name.endswith(("token_id", "token_index")) and isinstance(value, int)}  # fmt: skip
    usable = torch.tensor([token for token in range(min(config.vocab_size, 1000)) if token not in special] or [0])
    drawn = torch.randint(len(usable), (num_rows, length), generator=torch.Generator().manual_seed(0))
    texts = usable[drawn]
    begin = getattr(config, "bos_token_id", None)
    if isinstance(begin, int) and 0 <= begin < config.vocab_size:
        texts[:, :1] = begin
    return texts.to(model.device)


def _forward(model: PreTrainedModel, ids: Tensor, **arguments: Tensor) -> StreamOutput:
    """Logits (B, T, V) and hidden states (B, T, D) of texts (B, T), without a cache."""
    output = model(input_ids=ids, use_cache=False, output_hidden_states=True, **arguments)
    return StreamOutput(output.logits, output.hidden_states[-1])


def _read(model: PreTrainedModel, ids: Tensor, **arguments: Tensor) -> StreamOutput:
    """Logits (T, V) and hidden states (T, D) of one text (T,), without a cache."""
    return StreamOutput(*(values[0] for values in _forward(model, ids[None], **arguments)))


def _with_bias(model: PreTrainedModel, ids: Tensor) -> StreamOutput:
    """Outputs (1, ...) after a text (T,), its newest token reading with the focus bias, by its formula."""
    length = len(ids)
    mask = torch.full((length, length), -torch.inf, dtype=model.dtype, device=ids.device).triu(1)
    keys = torch.arange(length, device=ids.device)
    mask[-1] += -_FOCUS_BIAS * (length - 1 - keys).to(mask.dtype) / max(length - 1, 1)
    whole = _read(model, ids, attention_mask=mask[None, None], position_ids=keys[None])
    return StreamOutput(*(values[-1:] for values in whole))


def _first(output: StreamOutput, count: int) -> StreamOutput:
    return StreamOutput(*(values[:count] for values in output))


def _at(output: StreamOutput, rows: Tensor) -> StreamOutput:
    return StreamOutput(*(values[rows] for values in output))


def _require_sizes(model: PreTrainedModel, output: StreamOutput) -> None:
    config = text_config(model)
    for values, name in zip(output, ("vocab_size", "hidden_size"), strict=True):
        if values.shape[-1] != getattr(config, name):
            raise refusal(model, f"its outputs have size {values.shape[-1]}, and `{name}` is {getattr(config, name)}")
    if any(values.isnan().any() for values in output):
        raise refusal(model, "its predictions are NaN")


def _require_equal(model: PreTrainedModel, one: StreamOutput, other: StreamOutput, what: str) -> None:
    is_exact = torch.finfo(other.logits.dtype).bits >= 32 and torch.get_float32_matmul_precision() == "highest"
    tolerance = _TOLERANCE if is_exact else _COARSE_TOLERANCE
    for values, wanted in zip(one, other, strict=True):
        wanted = wanted.double()
        spread = (wanted - wanted.mean(dim=-1, keepdim=True)).square().mean(dim=-1).sqrt()
        errors = (values.double() - wanted).square().mean(dim=-1).sqrt() / spread.clamp(min=1e-12)
        error = float(errors.max()) if errors.numel() else 0.0
        if not error <= tolerance:
            raise refusal(model, f"its {what} (by {error:.1e} of their spread)")


def refusal(model: PreTrainedModel, what: str) -> ModelFolderError:
    """The error that names the model's architecture, and what is wrong with it."""
    kind = f"'{model.config.model_type}' ({type(model).__name__})"
    return ModelFolderError(f"A model of architecture {kind} cannot be run token by token here: {what}.")


@contextmanager
def _naming(model: PreTrainedModel, *, ours: bool = False) -> Iterator[None]:
    """Turn what a model of transformers stumbles on into an error that names it; leave random states as they are."""
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            yield
    except (TidalGymError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if ours:
            raise
        raise refusal(model, f"it raises {type(error).__name__}: {first_line(error).rstrip('.')}") from error
