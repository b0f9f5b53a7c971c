"""What a device is fast at."""

from __future__ import annotations

import torch


def has_fast_bfloat16(device: str | torch.device = "cpu") -> bool:
    """Whether the device multiplies bfloat16 matrices natively, at twice the speed of float32 or more.

    On a CPU without such instructions bfloat16 is emulated, and slower than float32.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
