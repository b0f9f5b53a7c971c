"""A step on a GPU as one launch: its kernels are recorded once, as a CUDA graph, and then replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_WARM_UP_CALLS = 3
"""Calls before the recording, in which libraries choose their kernels and reserve their memory."""


class Recorded:
    """A function of tensors on a CUDA device that, after a few calls, is a recording of itself.

    The function must have fixed shapes, keep its state in tensors that it changes in place, and ask the device
    nothing. What it returns holds until the next call.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        """What the function returns for inputs of the same shapes as ever."""
        if self._calls < _WARM_UP_CALLS:
            self._calls += 1
            return self._function(*inputs)
        if self._graph is None:
            self._inputs = tuple(torch.empty_like(tensor) for tensor in inputs)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):  # records, and computes nothing yet
                self._outputs = self._function(*self._inputs)
        for place, tensor in zip(self._inputs, inputs, strict=True):
            place.copy_(tensor)
        self._graph.replay()
        return self._outputs
