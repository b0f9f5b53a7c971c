"""The terminal: results go to standard output, progress and errors to standard error."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from lm.runs.progress import Progress as RunProgress, Report
from lm.terminal_text import shown_controls


class _Stream(Console):
    """A console with the terminal's width in a terminal and unlimited width elsewhere."""

    @property
    def size(self) -> ConsoleDimensions:
        return super().size if self.is_terminal else ConsoleDimensions(_UNLIMITED_WIDTH, 25)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def render_str(self, text: str, **options: Any) -> Text:
        """Escapes control characters; rich calls this for each printed string, in tables too."""
        return super().render_str(shown_controls(text), **options)


_UNLIMITED_WIDTH = 100_000

output = _Stream(highlight=False, markup=False, emoji=False)
"""Standard output."""
errors = _Stream(stderr=True, highlight=False, markup=False, emoji=False)
"""Standard error."""


def replace_unencodable() -> None:
    """Make both standard streams write a question mark for characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


_Update = Callable[..., None]
"""``update(done, total, note="")``: work done, total work, and a note to show."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(description: str) -> Iterator[_Update]:
    """Show the progress of a task: a bar in a terminal, elsewhere a line every ten seconds and at the end."""
    description = shown_controls(description)
    with _bar(description) if errors.is_terminal else _lines(description) as update:
        yield update


@contextmanager
def _bar(description: str) -> Iterator[_Update]:
    columns = (
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(28, complete_style="cyan", finished_style="green"),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=errors, refresh_per_second=4) as bar:
        task = bar.add_task(description, total=None, note="")

        def update(done: float, total: float, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield update
        if (total := bar.tasks[task].total) is not None:
            bar.update(task, completed=total)
        else:
            bar.update(task, completed=1, total=1)


@contextmanager
def _lines(description: str) -> Iterator[_Update]:
    started = last = time.monotonic()
    newest = ""

    def update(done: float, total: float, note: str = "") -> None:
        nonlocal last, newest
        newest = note
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            errors.print(f"{description}: {done / total:.0%} {note}".rstrip(), soft_wrap=True)

    yield update
    errors.print(f"{description}: done in {time.monotonic() - started:.0f} s {newest}".rstrip(), soft_wrap=True)


@contextmanager
def reporting() -> Iterator[Report]:
    """Show the progress of a run: a bar or lines for each of its stages, with the newest metrics."""
    with ExitStack() as stack:
        stage = ""
        update: _Update

        def report(run: RunProgress) -> None:
            nonlocal stage, update
            if run.stage != stage:
                stack.close()
                stage = run.stage
                update = stack.enter_context(progress(stage))
            if run.total:
                update(run.done, run.total, run.note or note_of(run.metrics))

        yield report


def note_of(metrics: Mapping[str, float]) -> str:
    """Metrics as a progress line shows them: those that have a form here, in this order."""
    notes = [form.format(metrics[name]) for name, form in NOTES.items() if name in metrics]
    return "  ".join(notes)


NOTES = {
    "loss": "loss {:.3f}",
    "validation_bits_per_byte": "validation {:.4f} bits/byte",
    "excess": "{:.4f} nats above the optimum",
    "reward": "reward {:.3f}",
    "token_accuracy": "token accuracy {:.3f}",
    "episode_reward": "reward {:.2f}",
    "episode_cost": "cost {:.2f}",
    "multiplier": "λ {:.2f}",
    "mean_return": "return {:.2f}",
    "tokens_per_second": "{:,.0f} tokens/s",
    "steps_per_second": "{:,.0f} steps/s",
    "stages_done": "{:.0f} stages done",
    "stages_running": "{:.0f} running",
    "creativity": "gates {:.2f}",
    "focus": "{:.2f}",
    "stability": "{:.2f}",
}
"""Forms of the metrics that a progress line shows."""


def print_text(text: str | Text, style: str | None = None) -> None:
    """Print part of a generated text and flush; outside a terminal the text is written unchanged."""
    if output.is_terminal:  # escapes control characters
        output.print(text, style=style, end="", soft_wrap=True)
    else:
        output.file.write(str(text))
    output.file.flush()


def print_figures(title: str, figures: dict[str, str]) -> None:
    """Print names and figures under a title, one unwrapped line each."""
    output.print(title, style="bold", soft_wrap=True)
    width = max(map(len, figures))
    for name, figure in figures.items():
        output.print(f"  {name:<{width}}", style="dim", end="  ")
        output.print(figure, soft_wrap=True)


def print_next(commands: dict[str, str]) -> None:
    """Print commands to try next, each with its purpose."""
    output.print("\nTry next:", style="bold")
    for purpose, command in commands.items():
        output.print(f"  # {purpose}", style="dim")
        output.print(f"  {command}", soft_wrap=True)
