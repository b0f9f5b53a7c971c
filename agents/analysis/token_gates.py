"""Which tokens go with wide and with narrow gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.episodes.episodes import Episodes
from lm.errors import InvalidValueError
from lm.models.gate_names import GATE_NAMES


@dataclass(frozen=True)
class TokenGate:
    """A gate at one token, over all its occurrences."""

    token_id: int
    """Id of the token."""
    text: str
    """What it stands for."""
    count: int
    """Occurrences."""
    mean: float
    """Mean of the gate."""
    std: float
    """Standard deviation of the gate."""


@dataclass(frozen=True)
class Extremes:
    """The tokens at both ends of a gate."""

    highest: tuple[TokenGate, ...]
    """The widest first."""
    lowest: tuple[TokenGate, ...]
    """The narrowest first."""


@dataclass(frozen=True)
class TokenGates:
    """Tokens with the highest and the lowest gates."""

    min_occurrences: int
    """Tokens that occur less often are left out."""
    drawn: dict[str, Extremes]
    """By gate: tokens by the gates that they were drawn under."""
    after: dict[str, Extremes]
    """By gate: tokens by the gates that were set when they were the newest of the text, which the agent can know."""


def token_gates(
    episodes: Episodes, name: Callable[[int], str], *, min_occurrences: int = 20, count: int = 10
) -> TokenGates:
    """The tokens with the highest and lowest mean gates.

    Args:
        episodes: where to look.
        name: what a token id stands for.
        min_occurrences: fewest occurrences of a token that is listed, at least 1.
        count: tokens at each end.

    Raises:
        InvalidValueError: `min_occurrences` is below 1.
    """
    if min_occurrences < 1:
        raise InvalidValueError("min_occurrences", "must be at least 1", min_occurrences)
    last_of_prompt = np.array([prompt[-1] for prompt in episodes.prompts])[:, None]
    newest = np.concatenate((last_of_prompt, episodes.tokens[:, :-1]), axis=1)
    gates = episodes.gates[episodes.is_alive].astype(np.float64)  # (M, 3)

    def by_gate(ids: NDArray[np.int64]) -> dict[str, Extremes]:
        return {
            gate: extremes(ids, values, name, min_occurrences=min_occurrences, count=count)
            for gate, values in zip(GATE_NAMES, gates.T, strict=True)
        }

    return TokenGates(min_occurrences, by_gate(episodes.tokens[episodes.is_alive]), by_gate(newest[episodes.is_alive]))


def extremes(
    ids: NDArray[np.int64], values: NDArray[np.float64], name: Callable[[int], str], *, min_occurrences: int, count: int
) -> Extremes:
    """The tokens with the highest and lowest means of values (M,), given the token ids (M,) that they belong to.

    A token is listed at one end only, its nearer one, however few there are.
    """
    tokens, group, counts = np.unique(ids, return_inverse=True, return_counts=True)
    means = np.bincount(group, values) / counts
    stds = np.sqrt(np.bincount(group, (values - means[group]) ** 2) / counts)
    ranked = [index for index in np.argsort(means, kind="stable") if counts[index] >= min_occurrences]

    def records(indices: list[np.intp]) -> tuple[TokenGate, ...]:
        return tuple(
            TokenGate(int(tokens[index]), name(int(tokens[index])), int(counts[index]), float(means[index]),
                      float(stds[index]))
            for index in indices
        )  # fmt: skip

    half = (len(ranked) + 1) // 2
    return Extremes(highest=records(ranked[half:][::-1][:count]), lowest=records(ranked[:half][:count]))
