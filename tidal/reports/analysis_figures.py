"""Draws the figures of an analysis as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.analysis.extreme_settings import SweptSetting
from agents.analysis.gate_statistics import Quarter
from agents.episodes.gate_summary import HISTOGRAM_BINS, GateSummary
from agents.evaluation.intervals import Interval
from lm.models.gate_names import GATE_NAMES
from tidal.reports.figures import ACCENT, GATES, INK, MUTED, STYLE, inline_svg


def histogram_figure(gates: Mapping[str, GateSummary]) -> str:
    """Histograms of the gates."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 2.5), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, len(GATE_NAMES), sharey=True)
        edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
        for axes, color, (name, gate) in zip(panels, GATES, gates.items(), strict=True):
            shares = np.array(gate.histogram) / sum(gate.histogram)
            axes.bar(edges[:-1], shares, 1 / HISTOGRAM_BINS, align="edge", color=color, alpha=0.75)
            axes.axvline(gate.mean, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axes.set_title(name, color=color)
            axes.set_xlim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
            axes.grid(axis="y")
            axes.set_axisbelow(True)
        panels[0].set_ylabel("share of tokens")
        return inline_svg(figure, "Histogram of each gate over all tokens")


def quarters_figure(quarters: Sequence[Quarter]) -> str:
    """Each gate and the reward per token in the four quarters of the episodes, with 95% intervals."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 2.5), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, len(GATE_NAMES) + 1)
        for axes, color, name in zip(panels, (*GATES, ACCENT), (*GATE_NAMES, "reward"), strict=True):
            points = [quarter.gates.get(name, quarter.reward) for quarter in quarters]
            places = [quarter.number for quarter in quarters]
            axes.plot(places, [point.mean for point in points], color=color, linewidth=2, marker="o", markersize=5)
            axes.vlines(places, [point.low for point in points], [point.high for point in points], color=color,
                        linewidth=5, alpha=0.3)  # fmt: skip
            axes.set_title(name, color=color)
            axes.set_xticks(range(1, 5))
            axes.set_xlim(0.6, 4.4)
            if name in GATE_NAMES:
                axes.set_ylim(-0.03, 1.03)
            axes.grid(axis="y")
        figure.supxlabel("quarter of the episode", fontsize=11, color=MUTED)
        return inline_svg(figure, "Each gate and the reward in the four quarters of the episodes, with 95% intervals")


def sweep_figure(agent: str, agent_return: Interval, sweep: Sequence[SweptSetting]) -> str:
    """Mean return of each extreme setting and of the agent with 95% intervals, the best on top."""
    marks = {"neutral": "D", "corner": "s", "face": "o"}
    rows = [(agent, agent_return, ACCENT, "*")]
    for setting in sweep:
        label = "({})  {}".format(", ".join(f"{gate:g}" for gate in setting.gates), setting.kind)
        rows.append((label, setting.mean_return, INK, marks[setting.kind]))
    rows.sort(key=lambda row: -row[1].mean)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.32 * len(rows) + 0.7), layout="constrained")
        axes = figure.subplots()
        for place, (_, mean, color, mark) in enumerate(rows):
            axes.plot([mean.low, mean.high], [place, place], color=color, linewidth=5, alpha=0.3, solid_capstyle="butt")
            axes.plot(mean.mean, place, mark, color=color, markersize=9 if mark == "*" else 6)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows], color=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("mean return of an episode")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return inline_svg(figure, "Mean return of 15 extreme settings and of the agent, with 95% intervals")
