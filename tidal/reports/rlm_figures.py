"""Plots of runs on random grammars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lm.rlm.dynamics import DynamicsPoint
from lm.rlm.optimum import Floors
from lm.rlm.sweep import SweepPoint
from lm.runs.whole_file import write_whole_file

LINES = {"uniform": ":", "unigram": "-.", "bigram": "--", "optimum": "-"}
"""Line style of each reference loss."""


def dynamics_figure(points: Sequence[DynamicsPoint], floors: Floors) -> Figure:
    """Losses with reference losses, excess at each position, and accuracy, over the steps."""
    figure = Figure(figsize=(14, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_losses(left, points, floors)
    steps = [point.step for point in points]
    excesses = np.array([point.test.excess_by_position for point in points])  # (points, P)
    for place, excess in enumerate(excesses.T):
        middle.plot(steps, excess, color=(0.12, 0.47, 0.71), alpha=0.25 + 0.75 * (place + 1) / excesses.shape[1])
    middle.plot(steps, [point.test.excess for point in points], color="black", label="mean")
    middle.set(title="Excess over the optimum, darker for later positions", xlabel="step", ylabel="nats", yscale="log")
    middle.set_xscale("symlog", linthresh=1)
    middle.legend()
    for part, label in (("train", "training"), ("test", "test")):
        right.plot(steps, [getattr(point, part).accuracy for point in points], label=label)
    right.axhline(floors.best_accuracy, color="grey", label="best possible")
    right.set(title="Accuracy", xlabel="step")
    right.set_xscale("symlog", linthresh=1)
    right.legend()
    return figure


def draw_losses(axes: Axes, points: Sequence[DynamicsPoint], floors: Floors) -> None:
    """Training and test loss over the steps, with the reference losses."""
    steps = [point.step for point in points]
    for part, label in (("train", "training"), ("test", "test")):
        axes.plot(steps, [getattr(point, part).loss for point in points], label=label)
    for name, style in LINES.items():
        axes.axhline(getattr(floors, name), color="grey", linestyle=style, label=name)
    axes.set(title="Loss", xlabel="step", ylabel="nats per answer")
    axes.set_xscale("symlog", linthresh=1)
    axes.legend()


def sweep_figure(points: Sequence[SweepPoint], parameter: str) -> Figure:
    """Excess over the optimum against the varied parameter: each grammar, and the mean."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    values = sorted({point.value for point in points})
    rows = [[point for point in points if point.value == value] for value in values]
    for row in rows:
        axes.plot([point.value for point in row], [point.excess for point in row], "o", color="C0", alpha=0.4)
    axes.plot(values, [np.mean([point.excess for point in row]) for row in rows], color="C0", label="mean of grammars")
    gap = [np.mean([point.bigram - point.optimum for point in row]) for row in rows]
    axes.plot(values, gap, "--", color="grey", label="a model that reads one token")
    gap = [np.mean([point.uniform - point.optimum for point in row]) for row in rows]
    axes.plot(values, gap, ":", color="grey", label="uniform guesses")
    axes.set(xlabel=parameter, ylabel="excess over the optimum [nats per answer]", yscale="log")
    if parameter == "train_size":
        axes.set_xscale("log", base=2)
        axes.set(title="Sample complexity", xlabel="training sentences")
    axes.legend()
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with write_whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
