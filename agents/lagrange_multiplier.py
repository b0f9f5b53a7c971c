"""The multiplier λ of a constraint, learned by gradient ascent."""

from __future__ import annotations

import torch
from torch import nn


class LagrangeMultiplier(nn.Module):
    """λ >= 0, what a unit of cost weighs against a unit of reward.

    It ascends the Lagrangian λ (J_c - d) of the constraint J_c <= d by Adam, and is clamped at 0 after each step, as in
    OmniSafe (arXiv:2305.09304). A module with its optimizer, so that SB3 saves and restores the state of both.

    Args:
        initial: λ before the first step, at least 0.
        learning_rate: of Adam, above 0; λ changes by about this much a step.
        device: where it lies.
    """

    def __init__(self, initial: float, learning_rate: float, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(initial), device=device))
        self.optimizer = torch.optim.Adam([self.weight], lr=learning_rate)

    @property
    def value(self) -> float:
        """λ."""
        return self.weight.item()

    def ascend(self, excess: float) -> None:
        """One step for the excess J_c - d: λ grows if it is above 0, and falls if it is below."""
        self.optimizer.zero_grad()
        (-self.weight * excess).backward()
        self.optimizer.step()
        with torch.no_grad():
            self.weight.clamp_(min=0.0)
