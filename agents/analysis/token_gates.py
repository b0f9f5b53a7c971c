"""Lists the tokens with the highest and the lowest mean gates."""

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
    """Statistics of a gate over all occurrences of a token."""

    token_id: int
    """Id of the token."""
    text: str
    """Text of the token."""
    count: int
    """Number of occurrences."""
    mean: float
    """Mean of the gate."""
    std: float
    """Standard deviation of the gate."""


@dataclass(frozen=True)
class Extremes:
    """Tokens with the highest and the lowest means of one gate."""

    highest: tuple[TokenGate, ...]
    """Tokens with the highest means, in descending order."""
    lowest: tuple[TokenGate, ...]
    """Tokens with the lowest means, in ascending order."""


@dataclass(frozen=True)
class TokenGates:
    """Tokens with the highest and the lowest means of each gate."""

    min_occurrences: int
    """Minimum number of occurrences of a listed token."""
    drawn: dict[str, Extremes]
    """By gate name: tokens ranked by the gate that they were drawn under."""
    after: dict[str, Extremes]
    """By gate name: tokens ranked by the gate after them, when they were the newest token of the observation."""


def token_gates(
    episodes: Episodes, name: Callable[[int], str], *, min_occurrences: int = 20, count: int = 10
) -> TokenGates:
    """The tokens with the highest and lowest mean gates.

    Args:
        episodes: finished episodes.
        name: maps a token id to its text.
        min_occurrences: minimum occurrences of a listed token, at least 1.
        count: number of tokens at each end.

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
    """The tokens with the highest and lowest means of values (M,), grouped by token ids (M,).

    Each token is listed at one end only, the nearer one.
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
