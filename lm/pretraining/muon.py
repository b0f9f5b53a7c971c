"""Muon for the matrices inside the blocks and AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lm.errors import InvalidValueError


class MuonWithAdamW(torch.optim.Optimizer):
    """``torch.optim.Muon`` on hidden weight matrices, ``torch.optim.AdamW`` on embeddings, head, gates, norms, biases.

    Muon's update is scaled to AdamW's root mean square (arXiv:2502.16982), so that one learning rate serves both.

    Raises:
        InvalidValueError: the model has no hidden weight matrix that is large enough for Muon.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float) -> None:
        hidden: list[Tensor] = []
        decayed: list[Tensor] = []
        plain: list[Tensor] = []
        head = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
        for module in model.modules():
            is_hidden = isinstance(module, nn.Linear) and module is not head and min(module.weight.shape) >= 32
            for name, parameter in module.named_parameters(recurse=False):
                if not parameter.requires_grad or any(parameter is seen for seen in (*hidden, *decayed, *plain)):
                    continue
                if name == "weight" and is_hidden:
                    hidden.append(parameter)
                else:
                    (decayed if parameter.dim() >= 2 else plain).append(parameter)
        if not hidden:
            rule = "must be another for a model without hidden weight matrices of at least 32 x 32"
            raise InvalidValueError("training.optimizer", rule, "muon")
        adamw_groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.muon = torch.optim.Muon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(adamw_groups, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.95))
        super().__init__([{"params": [*hidden, *decayed, *plain]}], {"lr": lr})
        self._share_groups()

    def _share_groups(self) -> None:
        # The very dictionaries of the parts: a scheduler that sets our learning rates sets theirs.
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all parameters."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.muon.step()
        self.adamw.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both parts."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both parts."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self._share_groups()
