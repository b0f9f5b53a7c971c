"""Formats evaluations as a terminal table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from agents.evaluation.evaluation import Evaluation


ROOM_FOR_ALL = 100
"""Terminal width that the complete table needs [characters]."""


def evaluation_table(evaluations: Sequence[Evaluation], title: str, width: int) -> Table:
    """Table of mean returns with 95% intervals, gates (mean ± standard deviation) and, if wide enough, text statistics.

    Args:
        evaluations: evaluations, one row each.
        title: title of the table.
        width: terminal width [characters].
    """
    table = Table(title=title, title_style="bold", title_justify="left", header_style="dim", box=box.SIMPLE_HEAD)
    table.add_column("agent", overflow="fold", min_width=15)
    table.add_column("return [95%]", justify="right", no_wrap=True)
    for gate in evaluations[0].gates:
        table.add_column(gate, justify="right", no_wrap=True)
    has_room = width >= ROOM_FOR_ALL
    for name in ("perplexity", "distinct-2 per text") if has_room else ():
        table.add_column(name, justify="right")
    best = max(evaluations, key=lambda evaluation: evaluation.mean_return.mean)
    for evaluation in evaluations:
        gates = (f"{usage.mean:.2f} ± {usage.std:.2f}" for usage in evaluation.gates.values())
        text = (f"{evaluation.perplexity:.1f}", f"{evaluation.text.distinct_2_per_text:.2f}") if has_room else ()
        table.add_row(
            evaluation.agent,
            str(evaluation.mean_return),
            *gates,
            *text,
            style="bold" if evaluation is best and len(evaluations) > 1 else None,
        )
    return table
