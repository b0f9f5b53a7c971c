"""Formats the benchmark's results as a terminal table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

ROOM_FOR_ALL = 110
"""Terminal width that the complete table needs [characters]."""


def interval_text(interval: Mapping[str, float], form: str = ".2f") -> str:
    """Formats a mean and its interval, such as 8.36 [8.30, 8.41]."""
    mean, low, high = (format(interval[end], form) for end in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def comparison_table(results: Mapping[str, Any], width: int) -> Table:
    """Table of returns with intervals, the controllers' advantage and, if the width suffices, rliable's figures.

    Args:
        results: content of ``results.json``.
        width: terminal width [characters].
    """
    config = results["config"]
    title = f"{config['training']['env']['model']}, reward `{config['training']['env']['reward']}`, held-out prompts"
    table = Table(title=title, title_style="bold", title_justify="left", header_style="dim", box=box.SIMPLE_HEAD)
    table.add_column("agent", min_width=15, overflow="fold")
    table.add_column("runs × episodes", justify="right", no_wrap=True)
    table.add_column("return [95%]", justify="right", no_wrap=True)
    table.add_column("controllers minus agent", justify="right", no_wrap=True)
    has_room = width >= ROOM_FOR_ALL
    for name in ("IQM", "P(improvement)") if has_room else ():
        table.add_column(name, justify="right", no_wrap=True)
    advantages = {advantage["over"]: advantage for advantage in results["comparison"]["advantages"]}
    for score in results["comparison"]["scores"]:
        advantage = advantages.get(score["name"])
        cells = [
            score["name"],
            f"{len(score['runs'])} × {score['episodes']}",
            interval_text(score["mean_return"]),
            interval_text(advantage["difference"], "+.2f") if advantage else "",
        ]
        if has_room:
            cells.append(interval_text(score["interquartile_mean"]))
            cells.append(f"{advantage['probability_of_improvement']['mean']:.2f}" if advantage else "")
        table.add_row(*cells, style="bold" if score["kind"] == "learned" else None)
    return table
