"""What the scores cost, counted in operations and in numbers kept; seconds are measured by benchmarks/carl.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lm.carl import carl_reward, field as field_module


class _Cost(TorchDispatchMode):
    """Operations, and the largest memory that one of them made; without what shares the memory of `given`."""

    def __init__(self, given: torch.Tensor) -> None:
        super().__init__()
        self._given = given.untyped_storage().data_ptr()
        self.operations = 0
        self.largest = 0
        """[bytes]."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() != self._given:
                self.largest = max(self.largest, value.untyped_storage().nbytes())
        return result


def cost_of(shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> _Cost:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(*shape, generator=generator).to(dtype)
    ids = torch.randint(shape[2], shape[:2], generator=generator)
    carl_reward(logits, ids)  # what is made once
    with _Cost(logits) as cost:
        carl_reward(logits, ids)
    return cost


def test_no_loop_over_tokens_or_completions() -> None:
    """32 times the tokens and 8 times the completions, in one block: more scales, and nothing else."""
    assert cost_of((16, 512, 8)).operations < 2 * cost_of((2, 16, 8)).operations


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_memory_is_a_few_blocks(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setitem(field_module._BLOCK_ELEMENTS, "cpu", 1 << 12)
    assert cost_of((4, 64, 1024), dtype).largest <= 8 * 2 * (1 << 12)


def test_memory_where_words_are_ruled_out() -> None:
    """The slow way takes a block at a time as well."""
    logits = torch.zeros(4, 1024, 1024)
    logits[:, :, 10:] = -torch.inf
    with _Cost(logits) as cost:
        carl_reward(logits, torch.zeros(4, 1024, dtype=torch.int64))
    assert cost.largest <= logits.nbytes / 2
