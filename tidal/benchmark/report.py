"""The benchmark's report: a self-contained HTML file, and its figures as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lm.models.gate_names import GATE_NAMES
from lm.runs.whole_file import write_text
from tidal.benchmark.figures import benchmark_figures, standing_alone
from tidal.benchmark.table import interval_text
from tidal.reports.pages import page_template

REPORT_FILE, PLOTS_FOLDER = "report.html", "plots"


def write_report(results: Mapping[str, Any], folder: Path) -> Path:
    """Write the report, and each figure as ``plots/NAME.svg``, into the folder; returns the report's path."""
    figures = benchmark_figures(results)
    plots = folder / PLOTS_FOLDER
    plots.mkdir(exist_ok=True)
    for name, drawing in figures.items():
        write_text(plots / f"{name}.svg", standing_alone(drawing))
    path = folder / REPORT_FILE
    write_text(path, render_report(results, figures))
    return path


def render_report(results: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The report as HTML.

    Args:
        results: content of ``results.json``.
        figures: inline SVG by name.
    """
    comparison = results["comparison"]
    learned = [score for score in comparison["scores"] if score["kind"] == "learned"]
    return page_template("benchmark.html.j2").render(
        results=results,
        config=results["config"],
        comparison=comparison,
        learned=learned[0] if learned else None,
        strongest=comparison["advantages"][0] if comparison["advantages"] else None,
        gap=comparison["gap_closed"][0] if comparison["gap_closed"] else None,
        is_won=all(advantage["is_apart"] for advantage in comparison["advantages"]),
        advantages={advantage["over"]: advantage for advantage in comparison["advantages"]},
        budgets=_budgets(results["budgets"]),
        figures={name: Markup(drawing) for name, drawing in figures.items()},
        gate_names=GATE_NAMES,
        interval=interval_text,
    )


def _budgets(budgets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the budget table, one for each method; all controllers share a row."""
    learned = [budget for budget in budgets if "seed" in budget]
    lines = [budget for budget in budgets if "seed" not in budget]
    if learned:
        steps = max(budget["env_steps"] for budget in learned)
        lines.insert(0, {"name": "controller", "env_steps": steps, "tried": len(learned), "settings": None})
    return lines
