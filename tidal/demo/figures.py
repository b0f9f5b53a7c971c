"""The figures of the demonstration's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.episodes.gate_summary import GateSummary
from agents.evaluation.evaluation import Evaluation
from agents.training.learning_curve import TrainingProgress
from lm.models.gate_names import GATE_NAMES
from tidal.reports.figures import ACCENT, GATES, INK, MUTED, STYLE, inline_svg


def comparison_figure(evaluations: Sequence[Evaluation]) -> str:
    """Mean return of each agent with its 95% interval, the first agent on top."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.55 * len(evaluations) + 0.7), layout="constrained")
        axes = figure.subplots()
        for place, evaluation in enumerate(evaluations):
            mean = evaluation.mean_return
            color = ACCENT if evaluation.agent == "controller" else INK
            axes.plot([mean.low, mean.high], [place, place], color=color, linewidth=5, alpha=0.3, solid_capstyle="butt")
            axes.plot(mean.mean, place, "o", color=color, markersize=8)
            axes.annotate(f"{mean.mean:.2f}", (mean.mean, place), (0, 9), textcoords="offset points", ha="center",
                          color=color, fontweight="bold")  # fmt: skip
        axes.set_yticks(range(len(evaluations)), [evaluation.agent for evaluation in evaluations], color=INK)
        axes.set_ylim(len(evaluations) - 0.5, -0.75)
        axes.set_xlabel("mean return of an episode")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return inline_svg(figure, "Mean return of each agent with its 95% interval")


def learning_curve_figure(curve: Sequence[TrainingProgress], references: Mapping[str, float]) -> str:
    """Return while exploring with the returns of reference agents, and below it the spread of the gates."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        above, below = figure.subplots(2, height_ratios=(3, 2), sharex=True)
        points = [(point.step, point.episode_reward) for point in curve if point.episode_reward is not None]
        if points:
            above.plot(*zip(*points, strict=True), color=ACCENT, linewidth=2, marker="o" if len(points) == 1 else None)
        for name, value in references.items():
            above.axhline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            # On the right, where the curve is above the baselines.
            above.annotate(name, (1, value), (-4, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                           ha="right", color=MUTED, fontsize=10)  # fmt: skip
        above.set_title("Return of an episode, while exploring", pad=14)
        steps = [point.step for point in curve]
        for gate, name in enumerate(GATE_NAMES):
            spread = [point.gate_stds[gate] for point in curve]
            below.plot(
                steps, spread, color=GATES[gate], linewidth=2, label=name, marker="o" if len(steps) == 1 else None
            )
        below.set_title("Standard deviation of each gate over states")
        below.set_ylim(bottom=0)
        below.set_xlabel("env steps")
        below.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        below.legend(frameon=False, ncols=3, loc="center right", bbox_to_anchor=(1, 0.7), fontsize=10, labelcolor=MUTED)
        for axes in (above, below):
            axes.grid(axis="y")
        return inline_svg(figure, "Return and spread of the gates in the course of training")


def gate_paths_figure(gates: Mapping[str, GateSummary], static: Sequence[float]) -> str:
    """Each gate by token of the episode: mean, central 80% of the episodes, and the best static setting."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 2.7), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, len(gates), sharey=True)
        for axes, color, (name, gate), constant in zip(panels, GATES, gates.items(), static, strict=True):
            places = range(1, len(gate.by_step) + 1)
            axes.fill_between(places, gate.low_by_step, gate.high_by_step, color=color, alpha=0.22, linewidth=0)
            axes.plot(places, gate.by_step, color=color, linewidth=2)
            axes.axhline(constant, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.set_title(name, color=color)
            axes.set_ylim(-0.03, 1.03)
            axes.set_xlabel("token of the episode")
            axes.grid(axis="y")
        return inline_svg(figure, "Gates in the course of an episode")
