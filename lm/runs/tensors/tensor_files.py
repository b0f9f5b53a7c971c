"""Tensors in safetensors files that people pass around: the same bytes for the same content, and checked when read."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lm.errors import CheckpointError
from lm.runs.tensors.checksums import relisted, require_unchanged
from lm.runs.whole_file import write_whole_file


@dataclass(frozen=True)
class Form:
    """Required form of a tensor in a file."""

    dtypes: tuple[str, ...]
    """Types of its numbers, as safetensors names them: "F32", "U16"."""
    dimensions: int
    """Number of its axes, none of which may be empty."""


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a file, whole or not at all, and its checksum where checksums are kept beside it."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with relisted(Path(path)), write_whole_file(path) as partial:
        save_file(contiguous, partial, dict(metadata) if metadata else None)
        _sort_metadata(partial)


def _sort_metadata(path: Path) -> None:
    """Put the metadata in alphabetical order, which safetensors leaves to chance."""
    with path.open("r+b") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        assert len(text) == size, "the same entries in another order"
        file.seek(8)
        file.write(text)


def read_tensors(path: str | Path, forms: Mapping[str, Form]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, and its metadata; what the file is to hold is checked before it is read.

    Args:
        path: of the file.
        forms: of the tensors that are read; others are passed over.

    Raises:
        CheckpointError: it cannot be read, its checksum is wrong, or a tensor is lacking, of another form or too large
            for the free memory; names the tensor.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} cannot be read: there is no such file.")
    require_unchanged(path)
    try:
        with safe_open(path, "pt") as file:
            for name, form in forms.items():
                _require_form(file, name, form, path)
            return {name: file.get_tensor(name) for name in forms}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _require_form(file: Any, name: str, form: Form, path: Path) -> None:
    """Check a tensor by the file's header."""
    if name not in file.keys():  # noqa: SIM118 - no mapping
        raise CheckpointError(f"{path} cannot be read: it holds no tensor `{name}`.")
    part = file.get_slice(name)
    dtype, shape = part.get_dtype(), tuple(part.get_shape())
    if dtype not in form.dtypes:
        raise CheckpointError(
            f"{path} cannot be read: `{name}` must hold numbers of type {' or '.join(form.dtypes)}, not {dtype}."
        )
    if len(shape) != form.dimensions or 0 in shape:
        raise CheckpointError(
            f"{path} cannot be read: `{name}` must have {form.dimensions} dimensions, none of them empty, not the "
            f"shape {shape}."
        )
