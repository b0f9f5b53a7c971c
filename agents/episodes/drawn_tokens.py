"""The one record of a drawn token, with all that can be said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.episodes.episodes import REWARD_PREFIX


@dataclass(frozen=True)
class Alternative:
    """A token that could have been drawn."""

    token_id: int
    """Its id."""
    text: str
    """What it stands for."""
    q: float
    """Its probability under q, the distribution that was drawn from."""
    p: float
    """Its probability under p, the neutral distribution."""


@dataclass(frozen=True)
class DrawnToken:
    """One drawn token."""

    token_id: int
    """Its id."""
    text: str
    """What it adds to the text; empty for the end of text, and while the bytes of a character are incomplete."""
    gates: tuple[float, ...]
    """Creativity, focus and stability that it was drawn under."""
    entropy: float
    """Entropy of the distribution that it was drawn from [nats]."""
    surprisal: float
    """−log p under the neutral model [nats]."""
    reward: float
    """Its reward."""
    terms: dict[str, float] = field(default_factory=dict)
    """The unweighted terms of the reward."""
    temperature: float | None = None
    """Temperature that it was drawn at; None where a decoder drew it."""
    penalty: float | None = None
    """Repetition penalty that it was drawn under; None where a decoder drew it."""
    drawn: Alternative | None = None
    """The token itself, beside its alternatives; None if they were not recorded."""
    rank: int | None = None
    """Its place among the tokens that could be drawn, 1 for the most probable one under q; None if not recorded."""
    alternatives: tuple[Alternative, ...] = ()
    """The five most probable other tokens under q, or as many as there are; none if they were not recorded."""

    @property
    def log_prob(self) -> float:
        """Its log probability under the neutral model [nats]."""
        return -self.surprisal


def drawn_token(
    token_id: int, text: str, gates: Sequence[float], reward: float, infos: Mapping[str, Any], **recorded: Any
) -> DrawnToken:
    """The record of a token.

    Args:
        token_id: its id.
        text: what it adds.
        gates: that it was drawn under.
        reward: that it earned.
        infos: the environment's figures of its step, in its row.
        **recorded: `drawn`, `rank` and `alternatives`, if they are known.
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
