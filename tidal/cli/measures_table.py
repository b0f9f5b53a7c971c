"""Formats the text measures of several agents as a terminal table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from agents.evaluation.text_measures import MEASURES

if TYPE_CHECKING:
    from agents.evaluation.evaluation import Evaluation


def measures_table(evaluations: Sequence[Evaluation]) -> Table:
    """Table with a row for each measure: each agent's value and its distance to human text with 95% interval."""
    table = Table(
        title="Measures of text: value, distance to human text [95%]",
        title_style="bold",
        title_justify="left",
        header_style="dim",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("measure", no_wrap=True)
    for evaluation in evaluations:
        table.add_column(evaluation.agent, justify="right")
    for name in MEASURES:
        measures = [getattr(evaluation.measures, name) for evaluation in evaluations]
        nearest = min(measure.distance.mean for measure in measures)
        cells = []
        for measure in measures:
            distance = measure.distance
            cell = f"{measure.value.mean:.3f}, {distance.mean:.3f} [{distance.low:.3f}, {distance.high:.3f}]"
            is_nearest = distance.mean == nearest and len(measures) > 1
            cells.append(Text(cell, style="bold" if is_nearest else ""))
        table.add_row(name, *cells)
    return table
