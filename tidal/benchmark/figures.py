"""Draws the benchmark's figures from the content of ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lm.models.gate_names import GATE_NAMES
from tidal.reports.figures import ACCENT, GATES, INK, LINE, MUTED, STYLE, VARIABLES, inline_svg

COLOURS = {"learned": ACCENT, "baseline": INK, "reference": MUTED}
LIGHT = {
    "ink": "#1d2430", "muted": "#667082", "line": "#e4e2dc", "accent": "#0b7285",
    "creativity": "#d9480f", "focus": "#2b8a3e", "stability": "#3b5bdb",
}  # fmt: skip
"""Colours of a standalone figure: those of the page's light theme."""

Json = Mapping[str, Any]


def benchmark_figures(results: Json) -> dict[str, str]:
    """Inline SVG figures by name, for the results that are available."""
    figures = {}
    comparison = results["comparison"]
    if comparison["scores"]:
        figures["comparison"] = _comparison(comparison["scores"])
    if comparison["gap_closed"]:
        figures["gap_closed"] = _gap_closed(comparison["gap_closed"][0])
    if any(results["curves"]):
        figures["learning_curves"] = _learning_curves(results["curves"], comparison["scores"])
    if "controller" in results["agents"]:
        figures["gates"] = _gates(results["agents"])
    if results["frozen_gates"]:
        figures["frozen_gates"] = _frozen_gates(results["frozen_gates"])
    return figures


def standing_alone(drawing: str) -> str:
    """A standalone SVG document from an inline SVG, with the light theme's colours."""
    for name in VARIABLES.values():
        drawing = drawing.replace(f"var(--{name})", LIGHT[name])
    return drawing


def _comparison(scores: Sequence[Json]) -> str:
    """Mean return of each agent with its interval, the best on top; rings are the controllers' runs."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.48 * len(scores) + 0.9), layout="constrained")
        axes = figure.subplots()
        for place, score in enumerate(scores):
            colour = COLOURS[score["kind"]]
            _interval(axes, score["mean_return"], place, colour)
            if len(score["runs"]) > 1:
                axes.plot(score["runs"], [place + 0.27] * len(score["runs"]), "o", color=colour, markersize=4,
                          markerfacecolor="none", markeredgewidth=1)  # fmt: skip
            mean = score["mean_return"]["mean"]
            axes.annotate(f"{mean:.2f}", (mean, place), (0, 8), textcoords="offset points", ha="center", color=colour,
                          fontweight="bold", fontsize=10)  # fmt: skip
        _names(axes, [score["name"] for score in scores])
        for label, score in zip(axes.get_yticklabels(), scores, strict=True):
            label.set_color(COLOURS[score["kind"]])
        axes.set_xlabel("mean return of an episode")
        return inline_svg(figure, "Mean return of each agent with its 95% interval, the best on top")


def _gap_closed(gap: Json) -> str:
    """Share of the gap that each run closes, and the mean over runs."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 1.5), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(0, 100, color=LINE, alpha=0.45, linewidth=0)
        fraction = {end: 100 * gap["fraction"][end] for end in ("mean", "low", "high")}
        _interval(axes, fraction, 0, ACCENT)
        axes.plot([100 * run for run in gap["runs"]], [0.5] * len(gap["runs"]), "o", color=ACCENT, markersize=5,
                  markerfacecolor="none", markeredgewidth=1)  # fmt: skip
        for end, name in ((0, gap["over"]), (100, "oracle")):
            axes.axvline(end, color=MUTED, linewidth=1)
            axes.annotate(name, (end, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                          ha="center", color=MUTED, fontsize=10)  # fmt: skip
        axes.set_yticks([0, 0.5], ["all", "each seed"], color=INK)
        axes.set_ylim(0.85, -0.4)
        axes.set_xlim(min(-12, fraction["low"] - 5), max(112, fraction["high"] + 5))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
        axes.spines["left"].set_visible(False)
        return inline_svg(figure, "Share of the gap to the oracle that each controller closes")


def _learning_curves(curves: Sequence[Sequence[Json]], scores: Sequence[Json]) -> str:
    """Return while exploring of each run, with the returns of the best baseline and the oracle."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axes = figure.subplots()
        for curve in curves:
            axes.plot([point["step"] for point in curve], [point["episode_reward"] for point in curve], color=ACCENT,
                      linewidth=1.2, alpha=0.55, marker="o" if len(curve) == 1 else None)  # fmt: skip
        baselines = [score for score in scores if score["kind"] == "baseline"][:1]
        for score in [*baselines, *(one for one in scores if one["name"] == "one-step oracle")]:
            value = score["mean_return"]["mean"]
            axes.axhline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(score["name"], (1, value), (-4, 3), xycoords=("axes fraction", "data"), ha="right",
                          textcoords="offset points", color=MUTED, fontsize=10)  # fmt: skip
        axes.set_xlabel("env steps")
        axes.set_ylabel("return while exploring")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.grid(axis="y")
        return inline_svg(figure, "Return in the course of training, a line per seed")


def _gates(agents: Json) -> str:
    """Mean of each gate by token of the episode: controllers, best static gates and oracle."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 2.7), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, len(GATE_NAMES), sharey=True)
        for colour, axes, gate in zip(GATES, panels, GATE_NAMES, strict=True):
            usage = agents["controller"]["gates"][gate]
            mean = np.array(usage["by_step"])
            places = np.arange(1, len(mean) + 1)
            axes.fill_between(places, np.clip(mean - usage["std"], 0, 1), np.clip(mean + usage["std"], 0, 1),
                              color=colour, alpha=0.16, linewidth=0)  # fmt: skip
            axes.plot(places, mean, color=colour, linewidth=2)
            if "one-step oracle" in agents:
                oracle = agents["one-step oracle"]["gates"][gate]["by_step"]
                axes.plot(np.arange(1, len(oracle) + 1), oracle, color=MUTED, linewidth=1)
            if "best static" in agents:
                axes.axhline(
                    agents["best static"]["gates"][gate]["mean"], color=MUTED, linewidth=1, linestyle=(0, (4, 3))
                )
            axes.set_title(gate, color=colour)
            axes.set_ylim(-0.03, 1.03)
            axes.set_xlabel("token of the episode")
            axes.grid(axis="y")
        return inline_svg(figure, "Gates in the course of an episode")


def _frozen_gates(costs: Sequence[Json]) -> str:
    """Return lost by freezing each gate at its mean."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.5 * len(costs) + 0.8), layout="constrained")
        axes = figure.subplots()
        for place, cost in enumerate(costs):
            colour = GATES[GATE_NAMES.index(cost["gate"])]
            _interval(axes, cost["cost"], place, colour)
            axes.plot(cost["runs"], [place + 0.27] * len(cost["runs"]), "o", color=colour, markersize=4,
                      markerfacecolor="none", markeredgewidth=1)  # fmt: skip
        axes.axvline(0, color=MUTED, linewidth=1)
        _names(axes, [cost["gate"] for cost in costs])
        axes.set_xlabel("return lost by an episode when the gate is frozen at its mean")
        return inline_svg(figure, "Return lost when a gate is frozen at its mean, with 95% intervals")


def _interval(axes: Axes, interval: Json, place: float, colour: str) -> None:
    axes.plot([interval["low"], interval["high"]], [place, place], color=colour, linewidth=5, alpha=0.3,
              solid_capstyle="butt")  # fmt: skip
    axes.plot(interval["mean"], place, "o", color=colour, markersize=7)


def _names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set_ylim(len(names) - 0.4, -0.8)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
