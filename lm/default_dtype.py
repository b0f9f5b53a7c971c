"""Networks and their training in float32, whatever torch's default type is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Around what makes and trains networks, or as a decorator: tensors get the default type otherwise."""
    default = torch.get_default_dtype()
    if default is not torch.float32:
        torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        if default is not torch.float32:
            torch.set_default_dtype(default)
