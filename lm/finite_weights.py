"""Networks whose weights are numbers: training that has diverged ends, in place of saving what is left."""

from __future__ import annotations

from torch import nn

from lm.errors import DivergedError


def require_finite(network: nn.Module, step: int) -> None:
    """Requires that all weights and buffers of a network in training are finite.

    Args:
        network: what is trained.
        step: of the training, for the message.

    Raises:
        DivergedError: one is NaN or infinite.
    """
    for name, values in network.state_dict().items():
        if not bool(values.isfinite().all()):
            raise diverged(f"weights of `{name}` are NaN or infinite", step)


def diverged(found: str, step: int) -> DivergedError:
    """The error that says what was found after a step of a training."""
    return DivergedError(
        f"The training has diverged: {found} after step {step:,}. Choose a smaller learning rate; the last checkpoint, "
        "if there is one, is of before."
    )
