"""State for resuming, stored as tensors and JSON without pickles."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from lm.passed_files import read_object
from lm.runs.tensors.tensor_files import write_tensors
from lm.runs.whole_file import write_json

TENSORS_FILE = "state.safetensors"
VALUES_FILE = "state.json"


@dataclass(frozen=True)
class SavedState:
    """Tensors and values by dotted name, prefixed with the name of their part."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors of any shapes and types, not copied."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """JSON values."""

    @classmethod
    def of_parts(cls, **parts: SavedState) -> SavedState:
        """Combines the states of several parts."""
        return cls(
            joined(**{name: part.tensors for name, part in parts.items()}),
            joined(**{name: part.values for name, part in parts.items()}),
        )

    def part(self, name: str) -> SavedState:
        """State of a part; empty if there is none with this name."""
        start = f"{name}."

        def within(entries: Mapping[str, Any]) -> dict[str, Any]:
            return {key.removeprefix(start): entry for key, entry in entries.items() if key.startswith(start)}

        return SavedState(within(self.tensors), within(self.values))

    def save(self, folder: Path) -> None:
        """Write two files."""
        write_tensors(folder / TENSORS_FILE, self.tensors)
        write_json(folder / VALUES_FILE, self.values)

    @classmethod
    def load(cls, folder: Path) -> SavedState:
        """Reads a state written by :meth:`save`. Raises CheckpointError, OSError or SafetensorError if this fails."""
        return cls(load_file(folder / TENSORS_FILE), read_object(folder / VALUES_FILE))


def joined(**parts: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of several mappings in one, under names that begin with their part's."""
    return {f"{part}.{name}": entry for part, entries in parts.items() for name, entry in entries.items()}


def write_into(places: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Copy tensors into the places of the same names.

    Raises:
        KeyError: one is missing.
        ValueError: one has another shape or type.
    """
    for name, place in places.items():
        tensor = saved[name]
        kinds = [f"{tuple(each.shape)} {each.dtype}" for each in (tensor, place)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"'{name}' is {kinds[0]}, not {kinds[1]}")
        place.copy_(tensor)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of an optimizer as tensors by name."""
    state = optimizer.state_dict()["state"]
    return joined(**{str(index): entries for index, entries in state.items()})


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restores the state of an optimizer, except for its hyperparameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state() -> SavedState:
    """State of the global generators of torch, numpy and Python."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the global one is what others draw from
    return SavedState(
        {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64))},
        {"numpy": [name, *rest], "python": random.getstate()},
    )


def restore_random_state(state: SavedState) -> None:
    """Restores the three global generators."""
    torch.set_rng_state(state.tensors["torch"])
    name, *rest = state.values["numpy"]
    np.random.set_state((name, state.tensors["numpy"].numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, numbers, gauss = state.values["python"]
    random.setstate((version, tuple(numbers), gauss))
