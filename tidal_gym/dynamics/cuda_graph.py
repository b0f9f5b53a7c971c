"""Records a function's kernels as a CUDA graph, so that a step on a GPU is one launch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_WARM_UP_CALLS = 3
"""Number of calls before the recording, in which libraries choose kernels and allocate memory."""


class Recorded:
    """Wraps a function of CUDA tensors; after a few calls it replays a CUDA graph of the function.

    The function must have fixed shapes, keep its state in tensors that it changes in place, and not synchronise with
    the device. Results are valid until the next call.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        """Result of the function; inputs must have the same shapes in all calls."""
        if self._calls < _WARM_UP_CALLS:
            self._calls += 1
            return self._function(*inputs)
        if self._graph is None:
            self._inputs = tuple(torch.empty_like(tensor) for tensor in inputs)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):  # records without computing
                self._outputs = self._function(*self._inputs)
        for place, tensor in zip(self._inputs, inputs, strict=True):
            place.copy_(tensor)
        self._graph.replay()
        return self._outputs
