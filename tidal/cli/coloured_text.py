"""Shows generated tokens in the terminal: coloured by their gates, with a legend, or as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from lm.models.gate_names import GATE_NAMES
from lm.terminal_text import shown_controls
from tidal_gym.envs.text.rendering import GATE_COLORS, gate_color

if TYPE_CHECKING:
    from agents.episodes.drawn_tokens import DrawnToken


def token_text(text: str, gates: Sequence[float]) -> Text:
    """A token's text in the colour of its gates."""
    return Text(shown_controls(text), style="rgb({},{},{})".format(*gate_color(gates)))


def legend(tokens: Sequence[DrawnToken]) -> Text:
    """Legend of the colours, with mean and standard deviation of each gate."""
    gates = np.array([token.gates for token in tokens])
    text = Text()
    for index, (name, color) in enumerate(zip(GATE_NAMES, GATE_COLORS, strict=True)):
        text.append("■ ", style="rgb({},{},{})".format(*color))
        text.append(f"{name} {gates[:, index].mean():.2f} ± {gates[:, index].std():.2f}   ")
    text.append("brighter: higher gate value", style="dim")
    return text


def gates_table(tokens: Sequence[DrawnToken]) -> Table:
    """Table of tokens with gates, temperature, penalty, entropy and log-probability."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("token")
    for name in (*GATE_NAMES, "temperature", "penalty", "entropy", "log p"):
        table.add_column(name, justify="right")
    for token in tokens:
        figures = (*token.gates, token.temperature, token.penalty, token.entropy, token.log_prob)
        table.add_row(repr(token.text), *("–" if figure is None else f"{figure:.2f}" for figure in figures))
    return table
