"""Muon for the matrices inside the blocks and AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class MuonWithAdamW(torch.optim.Optimizer):
    """``torch.optim.Muon`` on hidden weight matrices, ``torch.optim.AdamW`` on embeddings, head, gates, norms, biases.

    Muon's update is scaled to AdamW's root mean square (arXiv:2502.16982), so that one learning rate serves both.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float) -> None:
        hidden, decayed, plain = [], [], []
        head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
        for module in model.modules():
            is_hidden = isinstance(module, nn.Linear) and module is not head and min(module.weight.shape) >= 32
            for name, parameter in module.named_parameters(recurse=False):
                if not parameter.requires_grad or any(parameter is seen for seen in (*hidden, *decayed, *plain)):
                    continue
                if name == "weight" and is_hidden:
                    hidden.append(parameter)
                else:
                    (decayed if parameter.dim() >= 2 else plain).append(parameter)
        adamw_groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.parts = (
            torch.optim.Muon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(adamw_groups, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.95)),
        )
        super().__init__([{"params": [*hidden, *decayed, *plain]}], {"lr": lr})
        self._share_groups()

    def _share_groups(self) -> None:
        # The very dictionaries of the parts: a scheduler that sets our learning rates sets theirs.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all parameters."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both parts."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()
