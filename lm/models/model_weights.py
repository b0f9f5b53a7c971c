"""Checks of a model folder: its config must describe exactly the weights in its files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from lm.errors import CheckpointError, ModelFolderError
from lm.runs.tensors.checksums import require_unchanged

_MOST_TO_INITIALISE = 10
"""Maximum ratio of the parameters in the config to the numbers in the weight files, which may be packed."""


def require_weights_for(folder: Path, config: PreTrainedConfig) -> None:
    """Checks that the sizes of weight files fit the config, before memory is allocated.

    The sizes of hub ids, and of folders without safetensors files, are not checked.

    Raises:
        ModelFolderError: the config describes far more layers or parameters than the files contain, the folder refers
            to another model or to external code, or a file's checksum is wrong.
    """
    if "/" in str(config._attn_implementation):
        raise ModelFolderError(
            f"The model {folder} names code to download for its attention ({config._attn_implementation}, "
            "`attn_implementation` in config.json), which is never run here. Remove the entry."
        )
    if not folder.is_dir():
        return
    if (folder / "adapter_config.json").is_file():
        raise ModelFolderError(
            f"The folder {folder} holds an adapter, which names another model to load. Merge the two "
            "(`merge_and_unload` of peft) and save the result."
        )
    num_tensors = num_values = 0
    for file in folder.glob("model*.safetensors"):
        try:
            require_unchanged(file)
        except CheckpointError as error:
            raise ModelFolderError(str(error)) from error
        with safe_open(file, framework="pt") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118 - no mapping
        num_tensors, num_values = num_tensors + len(shapes), num_values + sum(map(math.prod, shapes))
    if not num_tensors:
        return
    parts = [config, *(getattr(config, name, None) for name in config.sub_configs)]
    num_layers = max(getattr(part, "num_hidden_layers", None) or 0 for part in parts)
    if num_layers > num_tensors:  # building a model takes time and memory for each layer
        raise ModelFolderError(
            f"The model folder {folder} lacks weights: config.json states {num_layers} layers (`num_hidden_layers`), "
            f"and the weight files hold {num_tensors} tensors."
        )
    with torch.device("meta"):
        described = AutoModelForCausalLM.from_config(config, trust_remote_code=False).num_parameters()
    if described > _MOST_TO_INITIALISE * num_values:
        raise ModelFolderError(
            f"The model folder {folder} lacks weights: config.json describes {described} numbers, and the weight "
            f"files hold {num_values}."
        )


def require_same_weights(model: PreTrainedModel, source: str, info: Mapping[str, Iterable]) -> None:
    """Checks that the weight files contain all weights of the model and no others; buffers are not checked.

    Args:
        model: the loaded model.
        source: its folder or hub id.
        info: ``missing_keys``, ``unexpected_keys`` and ``mismatched_keys``, as transformers reports them.

    Raises:
        ModelFolderError: weights are missing, superfluous, of another shape or not finite; names them.
    """
    buffers = {_place(name) for name, _ in model.named_buffers()}
    mismatched = sorted(f"{name} {tuple(held)} for {tuple(size)}" for name, held, size in info["mismatched_keys"])
    if mismatched:
        rule = "holds weights of other shapes than config.json describes"
        raise ModelFolderError(f"The model folder {source} {rule}: {_some(mismatched)}.")
    for key, what in (("missing_keys", "lacks weights that config.json describes"),
                      ("unexpected_keys", "holds weights that config.json does not describe")):  # fmt: skip
        listed = sorted(name for name in info[key] if _place(name) not in buffers)
        if listed:
            raise ModelFolderError(f"The model folder {source} {what}: {_some(listed)}.")
    damaged = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    if damaged:
        raise ModelFolderError(f"The model folder {source} holds weights that are NaN or infinite: {_some(damaged)}.")


def _place(name: str) -> str:
    """Last two parts of a weight's name: prefixes may differ, and layers share them."""
    return ".".join(name.split(".")[-2:])


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"
