"""The Lagrange multiplier λ of a constraint, learned by gradient ascent."""

from __future__ import annotations

import torch
from torch import nn


class LagrangeMultiplier(nn.Module):
    """Lagrange multiplier λ >= 0: weight of a unit of cost relative to a unit of reward.

    Its weight w ascends the Lagrangian w (J_c - d) of the constraint J_c <= d by Adam, clamped at 0 after each step,
    as in OmniSafe (arXiv:2305.09304). Without damping it oscillates: w grows until the policy, which responds with a
    delay, satisfies the limit. A term proportional to the newest excess damps this (the P term of a PID controller,
    arXiv:2007.03964):

        λ = max(0, w + gain (J_c - d))

    It is a module with an optimizer, so that SB3 saves and restores both.

    Args:
        initial: w before the first step, at least 0.
        learning_rate: Adam's learning rate, above 0; about the change of w per step.
        gain: proportional gain, λ per unit of excess, at least 0.
        device: device of the parameters.
    """

    excess: torch.Tensor
    """Newest excess J_c - d; 0 before the first step."""

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
        """Current value of λ."""
        return max(0.0, self.weight.item() + self.gain * self.excess.item())

    def ascend(self, excess: float) -> None:
        """Takes one ascent step for the excess J_c - d: w grows if it is above 0, and decreases if it is below."""
        self.excess.fill_(excess)
        self.optimizer.zero_grad()
        (-self.weight * excess).backward()
        self.optimizer.step()
        with torch.no_grad():
            self.weight.clamp_(min=0.0)
