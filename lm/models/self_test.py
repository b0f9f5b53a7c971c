"""Self-test of a model: predictions must depend on the previous tokens only.

Causal LMs of transformers differ in positions, masks, caches and routing. Instead of a list of supported architectures,
each model is tested on random tokens; a model that fails is refused by an error that names its architecture.
:mod:`lm.streams.self_test` compares reading token by token with reading whole texts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lm.errors import ModelFolderError, TidalGymError, first_line
from lm.models.text_config import text_config

_LONGEST = 12
"""Length of the texts [tokens]."""
_TOLERANCE = 1e-4
"""Tolerance: RMS error of logits or hidden states over their standard deviation; float32 stays 100 times below."""
_COARSE_TOLERANCE = 0.1
"""Tolerance for products rounded to 8 or 11 bits: large models in bfloat16 or float16, and TF32."""
_SMALL_MODEL = 250_000_000
"""Parameters up to which a model in bfloat16 or float16 is tested on a copy in float32."""

Outputs = tuple[Tensor, Tensor]
"""Logits (..., V) and hidden states after the last norm (..., D)."""


def require_causal(model: PreTrainedModel) -> None:
    """Checks that predictions depend on the previous tokens only, not on later tokens or other rows.

    Raises:
        ModelFolderError: it does not, or its predictions are NaN; names the architecture.
    """
    with naming(model):
        probe = probe_of(model)
        length = min(_LONGEST, getattr(text_config(model), "max_position_embeddings", None) or _LONGEST)
        texts = random_texts(probe, 2, length)
        whole = read(probe, texts[0])
        require_sizes(model, whole)
        for part in (1, length // 2):
            alone = read(probe, texts[0, :part])
            beginning = whole[0][:part], whole[1][:part]
            require_equal(model, alone, beginning, "predictions change with the text that follows")
        logits, hidden = forward(probe, texts)
        require_equal(model, (logits[0], hidden[0]), whole, "predictions change with the texts in the same batch")


def probe_of(model: PreTrainedModel) -> PreTrainedModel:
    """The model, or a float32 copy of a small model in half precision, whose rounding would hide errors."""
    is_coarse = torch.finfo(model.dtype).bits < 32
    if is_coarse and model.num_parameters() <= _SMALL_MODEL:
        return copy.deepcopy(model).float()
    return model


def random_texts(model: PreTrainedModel, num_rows: int, length: int) -> Tensor:
    """Random texts (N, T) that begin with the beginning-of-text token and contain no other special token."""
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


def forward(model: PreTrainedModel, ids: Tensor, **arguments: Tensor) -> Outputs:
    """Logits (B, T, V) and hidden states (B, T, D) of texts (B, T), without a cache."""
    output = model(input_ids=ids, use_cache=False, output_hidden_states=True, **arguments)
    return output.logits, output.hidden_states[-1]


def read(model: PreTrainedModel, ids: Tensor, **arguments: Tensor) -> Outputs:
    """Logits (T, V) and hidden states (T, D) of one text (T,), without a cache."""
    logits, hidden = forward(model, ids[None], **arguments)
    return logits[0], hidden[0]


def require_sizes(model: PreTrainedModel, output: Outputs) -> None:
    """Checks that outputs have the sizes in the config and contain no NaN."""
    config = text_config(model)
    for values, name in zip(output, ("vocab_size", "hidden_size"), strict=True):
        if values.shape[-1] != getattr(config, name):
            raise refusal(model, f"its outputs have size {values.shape[-1]}, and `{name}` is {getattr(config, name)}")
    if any(values.isnan().any() for values in output):
        raise refusal(model, "its predictions are NaN")


def require_equal(model: PreTrainedModel, one: Outputs, other: Outputs, what: str) -> None:
    """Checks that two outputs agree up to rounding; `what` describes the difference in the error."""
    is_exact = torch.finfo(other[0].dtype).bits >= 32 and torch.get_float32_matmul_precision() == "highest"
    tolerance = _TOLERANCE if is_exact else _COARSE_TOLERANCE
    for values, wanted in zip(one, other, strict=True):
        wanted = wanted.double()
        spread = (wanted - wanted.mean(dim=-1, keepdim=True)).square().mean(dim=-1).sqrt()
        errors = (values.double() - wanted).square().mean(dim=-1).sqrt() / spread.clamp(min=1e-12)
        error = float(errors.max()) if errors.numel() else 0.0
        if not error <= tolerance:
            raise refusal(model, f"its {what} (by {error:.1e} of their spread)")


def refusal(model: PreTrainedModel, what: str) -> ModelFolderError:
    """The error that names the model's architecture, and the failure."""
    kind = f"'{model.config.model_type}' ({type(model).__name__})"
    return ModelFolderError(f"A model of architecture {kind} cannot be run token by token here: {what}.")


@contextmanager
def naming(model: PreTrainedModel, *, ours: bool = False) -> Iterator[None]:
    """Converts a model's exceptions into an error that names the model; preserves random states."""
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
