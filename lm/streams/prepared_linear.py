"""Linear layers with weights packed for multiplication, for frozen weights in bfloat16 on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from lm.device import has_fast_bfloat16


def prepared_linear(layer: nn.Module, num_rows: int) -> Callable[[Tensor], Tensor]:
    """Returns the layer as a function of inputs (M, in), with its current weights; later changes have no effect.

    Every product in bfloat16 first packs the weights, which for a few dozen rows takes as long as a third of the
    product. Here they are packed once, into a copy. Results are bit-identical. Layers of other types, and layers of
    other data types and devices, are returned unchanged.

    Args:
        layer: any module; only linear layers are prepared.
        num_rows: M that the packing is optimised for; other numbers of rows work too.
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
