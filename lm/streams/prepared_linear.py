"""Linear layers whose weights lie ready for the product: what frozen weights allow on a CPU in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from lm.device import has_fast_bfloat16


def prepared_linear(layer: nn.Module, num_rows: int) -> Callable[[Tensor], Tensor]:
    """The layer as a function of inputs (M, in), with its weights as they are now: later changes are not seen.

    A product in bfloat16 begins by ordering the weights anew, every time, which for a few dozen rows takes as long as
    a third of the product. Here they are ordered once, into a copy. Results are the same to the last bit. Other
    types, devices and layers are left as they are.

    Args:
        layer: any module; only a plain linear layer can be prepared.
        num_rows: M that the order is chosen for; others work too.
    """
    if not isinstance(layer, nn.Linear):
        return layer
    weight = layer.weight.detach()
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16 or not has_fast_bfloat16("cpu"):
        return layer
    bias = None if layer.bias is None else layer.bias.detach()
    ordered = torch.ops.mkldnn._reorder_linear_weight(weight, num_rows)
    return partial(_product, ordered, bias)


def _product(weight: Tensor, bias: Tensor | None, inputs: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
