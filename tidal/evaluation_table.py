"""Evaluations side by side, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from agents.evaluation import Evaluation


def evaluation_table(evaluations: Sequence[Evaluation], title: str) -> Table:
    """Mean return with its 95% interval, gate usage (mean ± standard deviation) and what the text is like."""
    table = Table(title=title, title_style="bold", title_justify="left", header_style="dim")
    table.add_column("agent", overflow="fold")
    table.add_column("return [95%]", justify="right", no_wrap=True)
    for gate in evaluations[0].gates:
        table.add_column(gate, justify="right", no_wrap=True)
    table.add_column("perplexity", justify="right")
    table.add_column("distinct-2", justify="right")
    best = max(evaluations, key=lambda evaluation: evaluation.mean_return.mean)
    for evaluation in evaluations:
        gates = (f"{usage.mean:.2f} ± {usage.std:.2f}" for usage in evaluation.gates.values())
        table.add_row(
            evaluation.agent,
            str(evaluation.mean_return),
            *gates,
            f"{evaluation.perplexity:.1f}",
            f"{evaluation.text.distinct_2:.2f}",
            style="bold" if evaluation is best and len(evaluations) > 1 else None,
        )
    return table
