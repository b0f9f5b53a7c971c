"""Devices: which ones there are, and what they are fast at."""

from __future__ import annotations

import torch

from lm.errors import InvalidValueError


def require_device(device: str | torch.device, parameter: str = "device") -> str:
    """The name of a device that this machine has.

    Raises:
        InvalidValueError: the device is unknown to torch, not available, or "meta".
    """
    try:
        found = torch.device(device) if isinstance(device, (str, torch.device)) else torch.device("meta")
        if found.type != "meta":
            torch.empty(1, dtype=torch.float32, device=found)
            return str(found)
    except (RuntimeError, AssertionError, NotImplementedError):  # what the builds of torch raise
        pass
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ["cpu", *(f"cuda:{index}" for index in range(count))]
    raise InvalidValueError(parameter, f"must be a device of this machine, such as {', '.join(names)}", repr(device))


def has_fast_bfloat16(device: str | torch.device = "cpu") -> bool:
    """Whether the device multiplies bfloat16 matrices natively, at twice the speed of float32 or more.

    On a CPU without such instructions bfloat16 is emulated, and slower than float32.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
