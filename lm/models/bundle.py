"""Bundles: a model folder with weights, tokenizer and reference statistics, loaded once per process by name."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

import lm.models.gated_transformer  # noqa: F401 - registers the model type with the Auto classes
from lm.device import has_fast_bfloat16, require_device
from lm.errors import InvalidValueError, ModelFolderError, TidalGymError, first_line
from lm.model_names import bundled_models, resolve
from lm.models import reference_statistics
from lm.models.model_cache import LOADING, ModelCache, content_key
from lm.models.model_weights import require_same_weights, require_weights_for
from lm.models.reference_statistics import ReferenceStatistics
from lm.models.self_test import require_causal
from lm.models.text_config import context_length_of, text_config, vocab_size_of
from lm.paths import user_path
from lm.runs.tensors.checksums import write_checksums
from lm.runs.whole_folder import write_whole_folder
from lm.tokenizers.tokenization import load_tokenizer, save_tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@dataclass(frozen=True, eq=False)
class Bundle:
    """A frozen model with its tokenizer and reference statistics."""

    name: str
    """Name as requested: a bundled name, a folder or a hub id."""
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    statistics: ReferenceStatistics

    @property
    def vocab_size(self) -> int:
        """Vocabulary size V: number of logits."""
        return vocab_size_of(self.model)

    @property
    def context_length(self) -> int:
        """Context length of the model [tokens]."""
        return context_length_of(self.model)

    @property
    def width(self) -> int:
        """Hidden size D."""
        return text_config(self.model).hidden_size

    @property
    def eos_token_id(self) -> int | None:
        """Token that ends a text, if the tokenizer has one."""
        return self.tokenizer.eos_token_id


_bundles: ModelCache[Bundle] = ModelCache()
_models: ModelCache[tuple[PreTrainedModel, PreTrainedTokenizerBase]] = ModelCache()


def load_bundle(
    model: str = "tidal-tiny", *, statistics: str | None = None, dtype: str = "float32", device: str = "cpu"
) -> Bundle:
    """Loads a bundle, or returns the cached one if its files are unchanged.

    The most recently requested models stay loaded. A bundle may be used by several threads at once.

    Args:
        model: a bundled name, a folder or a hub id of any causal LM of transformers.
        statistics: file of reference statistics, for a model whose folder has none.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float64"``, or ``"auto"``: bfloat16 where the device is fast at it
            (docs/speed.md has the measurement), else float32.
        device: torch device of the model.

    Raises:
        ModelFolderError: the model, its tokenizer or its statistics are missing; explains how to make them.
        InvalidValueError: an unknown `dtype` or device.
    """
    if dtype not in ("auto", *DTYPES):
        raise InvalidValueError("dtype", f"must be one of {('auto', *DTYPES)}", repr(dtype))
    device = require_device(device)
    if dtype == "auto":
        dtype = "bfloat16" if has_fast_bfloat16(device) else "float32"
    name, source = str(model), resolve(str(model))
    path = user_path(statistics) if statistics else Path(source) / reference_statistics.FILE_NAME
    key = (name, content_key(source), content_key(path), dtype, device)
    return _bundles.get(key, lambda: _load(name, path, dtype, device))


def _load(name: str, path: Path, dtype: str, device: str) -> Bundle:
    model, tokenizer = load_model_and_tokenizer(name, DTYPES[dtype], device)
    if not path.is_file():
        raise ModelFolderError(
            f"The model '{name}' has no reference statistics ({path} does not exist). Make them with `tidal statistics "
            f"--model {name} --data TEXT_FILE --output {path.name}`; where the file is not in the model's folder, "
            "name it by `statistics`."
        )
    loaded = ReferenceStatistics.load(path).to(device)
    if loaded.vocab_size != vocab_size_of(model):
        raise ModelFolderError(
            f"The reference statistics {path} are of another model: they count {loaded.vocab_size} tokens, "
            f"and '{name}' has a vocabulary of {vocab_size_of(model)}."
        )
    return Bundle(name, model, tokenizer, loaded)


def load_model_and_tokenizer(
    name: str, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a model and its tokenizer without statistics, or returns the cached ones if their files are unchanged.

    Args:
        name: as in :func:`load_bundle`.
        dtype: data type of the weights.
        device: as in :func:`load_bundle`.

    Raises:
        ModelFolderError: the model or its tokenizer cannot be loaded, or it states no context length.
    """
    source = resolve(name)
    key = (content_key(source), dtype, device)
    return _models.get(key, lambda: _load_model_and_tokenizer(name, source, dtype, device))


def _load_model_and_tokenizer(
    name: str, source: str, dtype: torch.dtype, device: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if _looks_like_folder(source) and not Path(source, "config.json").is_file():
        raise ModelFolderError(
            f"No model named '{name}': it is not bundled ({', '.join(bundled_models())}), "
            f"and {source} is no folder with a config.json."
        )
    model = load_model(source, dtype, device)
    context_length_of(model)
    return model, load_tokenizer(source)


def load_model(source: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> PreTrainedModel:
    """Load a causal LM for inference: evaluation mode, no gradients. Code in a model folder is never run.

    Raises:
        ModelFolderError: the model cannot be loaded or is no causal LM, or its weights differ from its config or from
            ``SHA256SUMS``.
        InvalidValueError: the device does not exist.
    """
    device = require_device(device)
    try:
        with LOADING, without_progress_bars():
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
            require_weights_for(Path(source), config)
            model, info = AutoModelForCausalLM.from_pretrained(
                source,
                config=config,
                dtype=dtype,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below
            )
    except (TidalGymError, MemoryError):
        raise
    except Exception as error:  # transformers raises many kinds of errors for invalid files
        raise ModelFolderError(f"No model could be loaded from '{source}': {first_line(error)}") from error
    require_same_weights(model, source, info)
    model = model.to(device).eval().requires_grad_(False)
    require_causal(model)
    return model


def save_bundle(
    folder: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    statistics: ReferenceStatistics,
    *,
    save_dtype: str = "float32",
    facts: Mapping[str, object] | None = None,
    made_by: str = "tidal pretrain",
) -> None:
    """Writes a bundle atomically, replacing an existing one; `facts` and `made_by` are written to its model card."""
    folder = user_path(folder)
    lines = [f"# {folder.name}", "", f"A causal language model trained by `{made_by}`.", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in (facts or {}).items()), ""]
    with write_whole_folder(folder) as partial, without_progress_bars():
        copy.deepcopy(model).to(getattr(torch, save_dtype)).save_pretrained(partial)
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.model_max_length = min(tokenizer.model_max_length, context_length_of(model))
        save_tokenizer(tokenizer, partial)
        statistics.save(partial / reference_statistics.FILE_NAME)
        write_checksums(partial)
        (partial / "README.md").write_text("\n".join(lines), encoding="utf-8")


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Disables transformers' progress bars and loading reports."""
    were_shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(max(verbosity, logging.ERROR))
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if were_shown:
            logging.enable_progress_bar()


def _looks_like_folder(source: str) -> bool:
    return source.startswith((".", "/")) or source.count("/") > 1 or os.path.exists(source)
