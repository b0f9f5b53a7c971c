"""Configuration of control codes."""

from __future__ import annotations

from dataclasses import dataclass

from lm.checks import COUNT, SHARE, check_fields


@dataclass(frozen=True)
class ControlCodeConfig:
    """Configuration of control codes: frequency and segment length of gate signals in training."""

    batch_probability: float = 0.5
    """Share of the batches with gate signals, in [0, 1]."""

    neutral_probability: float = 0.5
    """Probability, per row and gate, that a signal is replaced by its neutral value, in [0, 1]."""

    segment_length: int = 64
    """Length of a segment with constant gate signals [tokens]."""

    def __post_init__(self) -> None:
        check_fields(
            self, "control_codes", batch_probability=SHARE, neutral_probability=SHARE, segment_length=COUNT
        )
