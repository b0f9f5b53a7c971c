"""Detects diverged training: raises an error for NaN and infinite weights before they are saved."""

from __future__ import annotations

from torch import nn

from lm.errors import DivergedError


def require_finite(network: nn.Module, step: int) -> None:
    """Requires that all weights and buffers of a network in training are finite.

    Args:
        network: network in training.
        step: training step, for the message.

    Raises:
        DivergedError: one is NaN or infinite.
    """
    for name, values in network.state_dict().items():
        if not bool(values.isfinite().all()):
            raise diverged(f"weights of `{name}` are NaN or infinite", step)


def diverged(found: str, step: int) -> DivergedError:
    """Makes the error for a training that has diverged at a step."""
    return DivergedError(
        f"The training has diverged: {found} after step {step:,}. Choose a smaller learning rate; the last checkpoint, "
        "if there is one, is from before."
    )
