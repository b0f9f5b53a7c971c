"""Checks the options of transformers' ``generate`` under :class:`agents.GatedGeneration`.

``generate`` passes a decoding method only some of its options, and fills in defaults for omitted ones. So the arguments
are read from the local variables of the running call.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    GenerationConfig,
    GenerationMixin,
    LogitNormalization,
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedModel,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopHLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from lm.errors import InvalidValueError

HONOURED = frozenset({
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "max_time", "stop_strings",
    "num_return_sequences", "return_dict_in_generate", "pad_token_id", "bos_token_id", "eos_token_id",
    "no_repeat_ngram_size", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "sequence_bias",
    "forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty", "remove_invalid_values",
})  # fmt: skip
"""Supported fields of a generation config. All others raise an error, including those of later releases."""

_ARGUMENTS = ("assistant_model", "negative_prompt_ids", "negative_prompt_attention_mask", "synced_gpus")
"""Unsupported parameters of ``generate``; its other parameters are supported."""
_INPUTS = frozenset({"input_ids", "attention_mask"})
_SAMPLING = (
    TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper, TopHLogitsWarper,
    TypicalLogitsWarper, EpsilonLogitsWarper, EtaLogitsWarper, RepetitionPenaltyLogitsProcessor, LogitNormalization,
)  # fmt: skip
"""Processors that ``generate`` makes from a model's sampling defaults; the gates replace them."""


def call_of_generate() -> Mapping[str, Any]:
    """Local variables of the running ``generate`` call; empty if there is none."""
    return _locals_of(GenerationMixin.generate)


def give_back_tokenizer() -> None:
    """Restores the tokenizer in the options of the running ``generate`` call.

    For callables, transformers removes it before it inspects their signature, and later needs it for stop strings.
    """
    sorting = _locals_of(GenerationMixin._extract_generation_mode_kwargs)
    if "tokenizer" in sorting.get("generation_mode_kwargs", {}):
        sorting["kwargs"]["tokenizer"] = sorting["generation_mode_kwargs"]["tokenizer"]


def require_honoured(model: PreTrainedModel, config: GenerationConfig, call: Mapping[str, Any]) -> None:
    """Raises an error for options that would have no effect.

    Sampling options of the model's own generation config count as not given, since the gates replace them.

    Raises:
        InvalidValueError: an option is not supported; names the option.
    """
    given = {name: value for name, value in call.get("kwargs", {}).items() if value is not None}
    for name in _ARGUMENTS:
        if call.get(name) not in (None, False):
            raise _refused(name, call[name])
    for name in given.keys() - _INPUTS - vars(config).keys():
        raise _refused(name, given[name])
    defaults = config._get_default_generation_params()
    for name, value in vars(config).items():
        if name in HONOURED or name.startswith("_") or name == "transformers_version" or value is None:
            continue
        unset = defaults.get(name, _neutral(value))
        own = getattr(model.generation_config, name, None)
        if name == "do_sample":
            is_refused = given.get(name) is False
        elif name in given:
            is_refused = value != unset
        else:
            is_refused = value not in (unset, own)
        if is_refused:
            raise _refused(name, value)


def kept_processors(prepared: LogitsProcessorList, call: Mapping[str, Any]) -> LogitsProcessorList:
    """The processors of a call without those of sampling defaults (temperature, top-k and others)."""
    own = list(call.get("logits_processor") or ())
    return LogitsProcessorList(
        processor
        for processor in prepared
        if not isinstance(processor, _SAMPLING) or any(processor is one for one in own)
    )


def require_uniforms(uniforms: Tensor, num_rows: int, num_tokens: int) -> None:
    """Requires random numbers in [0, 1) for every token of every row.

    Raises:
        InvalidValueError: the shape is too small, or values are out of range.
    """
    is_enough = isinstance(uniforms, Tensor) and uniforms.dim() == 2 and len(uniforms) == num_rows
    if not is_enough or uniforms.shape[1] < num_tokens or not ((uniforms >= 0) & (uniforms < 1)).all():
        rule = f"must be a tensor of numbers in [0, 1) of shape ({num_rows}, {num_tokens}) or longer"
        received = f"shape {tuple(uniforms.shape)}" if isinstance(uniforms, Tensor) else repr(uniforms)
        raise InvalidValueError("uniforms", rule, received)


def _refused(name: str, value: object) -> InvalidValueError:
    shown = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)[:200]
    hint = "How tokens are drawn is set by the agent's gates and by `modulation`."
    return InvalidValueError(name, "must not be given to `generate` with gated generation", shown, hint)


def _neutral(value: object) -> object:
    """The off value of a flag without default."""
    return False if isinstance(value, bool) else None


def _locals_of(function: Any) -> Mapping[str, Any]:
    code = inspect.unwrap(function).__code__
    return next((frame.f_locals for frame in _callers() if frame.f_code is code), {})


def _callers() -> Iterator[FrameType]:
    # No public way in transformers 5: `generate` passes neither its streamer nor its assistant model to a callable, nor
    # which options were given, and it drops the tokenizer that its own stop strings need.
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
