"""The multiplier λ of a constraint, learned by gradient ascent."""

from __future__ import annotations

import torch
from torch import nn


class LagrangeMultiplier(nn.Module):
    """λ >= 0, what a unit of cost weighs against a unit of reward.

    Its weight w ascends the Lagrangian w (J_c - d) of the constraint J_c <= d by Adam, clamped at 0 after each step,
    as in OmniSafe (arXiv:2305.09304). Alone it swings: it grows for as long as the policy, which follows with a delay,
    costs too much. A term in proportion to the newest excess damps that (the P of a PID controller, arXiv:2007.03964):

        λ = max(0, w + gain (J_c - d))

    A module with its optimizer, so that SB3 saves and restores the state of both.

    Args:
        initial: w before the first step, at least 0.
        learning_rate: of Adam, above 0; w changes by about this much a step.
        gain: λ per unit of excess, at least 0.
        device: where it lies.
    """

    excess: torch.Tensor
    """The newest excess J_c - d; 0 before the first step."""

    def __init__(
        self, initial: float, learning_rate: float, gain: float = 0.0, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        self.gain = gain
        self.register_buffer("excess", torch.tensor(0.0, dtype=torch.float32, device=device))
        self.weight = nn.Parameter(torch.tensor(float(initial), dtype=torch.float32, device=device))
        self.optimizer = torch.optim.Adam([self.weight], lr=learning_rate)

    @property
    def value(self) -> float:
        """λ."""
        return max(0.0, self.weight.item() + self.gain * self.excess.item())

    def ascend(self, excess: float) -> None:
        """One step for the excess J_c - d: w grows if it is above 0, and falls if it is below."""
        self.excess.fill_(excess)
        self.optimizer.zero_grad()
        (-self.weight * excess).backward()
        self.optimizer.step()
        with torch.no_grad():
            self.weight.clamp_(min=0.0)
