"""Record of a drawn token: gates, sampling, reward and alternatives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.episodes.episodes import REWARD_PREFIX


@dataclass(frozen=True)
class Alternative:
    """A token of the sampling distribution."""

    token_id: int
    """Token id."""
    text: str
    """Text of the token."""
    q: float
    """Probability under q, the sampling distribution."""
    p: float
    """Probability under p, the neutral distribution."""


@dataclass(frozen=True)
class DrawnToken:
    """Record of one drawn token."""

    token_id: int
    """Token id."""
    text: str
    """Text that the token adds; empty for the end of text, and while the bytes of a character are incomplete."""
    gates: tuple[float, ...]
    """Gates: creativity, focus and stability."""
    entropy: float
    """Entropy of the sampling distribution [nats]."""
    surprisal: float
    """−log p under the neutral model [nats]."""
    reward: float
    """Reward of the token."""
    terms: dict[str, float] = field(default_factory=dict)
    """Unweighted terms of the reward by name."""
    temperature: float | None = None
    """Sampling temperature; None for tokens of a decoder."""
    penalty: float | None = None
    """Repetition penalty; None for tokens of a decoder."""
    drawn: Alternative | None = None
    """Probabilities of the drawn token; None if alternatives were not recorded."""
    rank: int | None = None
    """Rank of the token under q, 1 for the most probable one; None if not recorded."""
    alternatives: tuple[Alternative, ...] = ()
    """The five most probable other tokens under q, or fewer; empty if not recorded."""

    @property
    def log_prob(self) -> float:
        """Log-probability under the neutral model [nats]."""
        return -self.surprisal


def drawn_token(
    token_id: int, text: str, gates: Sequence[float], reward: float, infos: Mapping[str, Any], **recorded: Any
) -> DrawnToken:
    """Makes the record of a token.

    Args:
        token_id: token id.
        text: text that the token adds.
        gates: gates of the step.
        reward: reward of the step.
        infos: the environment's infos of the step, for the token's row.
        **recorded: `drawn`, `rank` and `alternatives`, if recorded.
    """
    return DrawnToken(
        token_id=token_id,
        text=text,
        gates=tuple(float(gate) for gate in gates),
        entropy=float(infos["entropy"]),
        surprisal=-float(infos["log_prob"]),
        reward=float(reward),
        terms={
            name.removeprefix(REWARD_PREFIX): float(value)
            for name, value in infos.items()
            if name.startswith(REWARD_PREFIX)
        },
        temperature=_known(infos, "temperature"),
        penalty=_known(infos, "penalty"),
        **recorded,
    )


def _known(infos: Mapping[str, Any], name: str) -> float | None:
    value = float(infos.get(name, math.nan))
    return None if math.isnan(value) else value
