"""Weights that depend on the phase of training, measured by the agreement of Φ over the last batch's tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lm.carl.options import CarlWeights

GASEOUS_BELOW, LIQUID_BELOW = 0.30, 0.70
"""Upper limits of the order R of the phases "gaseous" and "liquid"."""

PHASE_WEIGHTS = {
    "gaseous": CarlWeights(0.20, 0.30, 0.50),
    "liquid": CarlWeights(0.40, 0.30, 0.30),
    "crystalline": CarlWeights(0.60, 0.30, 0.10),
}
"""Weights of each phase, as published in later versions of github.com/wheattoast11/carl."""


def kuramoto_order(phi: Tensor, is_token: Tensor) -> float:
    """R = |mean exp(iπΦ)| over the tokens (B, T) where `is_token` is True, in [0, 1]; 1 if all Φ are equal."""
    angles = math.pi * phi[is_token].double()
    return math.hypot(float(angles.cos().mean()), float(angles.sin().mean()))


def phase_of(order: float) -> str:
    """The name of an order R: "gaseous" below 0.30, "liquid" below 0.70, else "crystalline"."""
    if order < GASEOUS_BELOW:
        return "gaseous"
    return "liquid" if order < LIQUID_BELOW else "crystalline"


class PhaseAdaptiveWeights:
    """Weights by the phase of the previous batch, so that a batch does not affect its own weights.

    The first batch gets the static weights. The state is :attr:`order`. TRL's checkpoints do not contain reward
    functions; ``tidal carl train`` adds the state to them.
    """

    def __init__(self) -> None:
        self.order: float | None = None
        """Order R of the previous batch; None before the first."""

    @property
    def phase(self) -> str | None:
        """Phase of the previous batch; None before the first."""
        return None if self.order is None else phase_of(self.order)

    @property
    def weights(self) -> CarlWeights:
        """Weights for the next batch."""
        return CarlWeights() if self.phase is None else PHASE_WEIGHTS[self.phase]

    def observe(self, phi: Tensor, is_token: Tensor) -> None:
        """Records a batch: Φ (B, T) and the mask of its tokens."""
        self.order = kuramoto_order(torch.as_tensor(phi), is_token)
