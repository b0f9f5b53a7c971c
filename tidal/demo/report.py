"""The demonstration's report: a self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from agents.episodes.drawn_tokens import DrawnToken
from agents.episodes.stories import Story
from lm.models.gate_names import GATE_NAMES
from lm.runs.whole_file import write_text
from tidal.demo.figures import comparison_figure, gate_paths_figure, learning_curve_figure
from tidal.demo.run import STORY_EPISODE, DemoResult
from tidal.reports.pages import page_template

REPORT_FILE = "report.html"


def write_report(result: DemoResult, folder: Path, *, command: str) -> Path:
    """Write the report into the folder and return its path."""
    path = folder / REPORT_FILE
    write_text(path, render_report(result, command=command))
    return path


def render_report(result: DemoResult, *, command: str) -> str:
    """The report as HTML.

    Args:
        result: result of the demonstration.
        command: command line that ran it.
    """
    evaluations = [*result.evaluations.values(), *([result.oracle] if result.oracle else [])]
    references = {
        f"{name}, held-out prompts": result.evaluations[name].mean_return.mean for name in ("best static", "neutral")
    }
    return page_template("report.html.j2").render(
        result=result,
        evaluations=evaluations,
        gate_names=GATE_NAMES,
        stories=[(story, [(token, token_title(token)) for token in story.tokens]) for story in result.stories],
        story_number=STORY_EPISODE + 1,
        ending=_ending,
        command=command,
        comparison=Markup(comparison_figure(sorted(evaluations, key=lambda one: -one.mean_return.mean))),
        learning_curve=Markup(learning_curve_figure(result.curve, references)),
        gate_paths=Markup(gate_paths_figure(result.controller.gates, list(result.tuning.parameters.values()))),
    )


def token_title(token: DrawnToken) -> str:
    """Text of a token's tooltip."""
    gates = ", ".join(f"{name} {value:.2f}" for name, value in zip(GATE_NAMES, token.gates, strict=True))
    terms = ", ".join(f"{name} {value:+.2f}" for name, value in token.terms.items())
    return "\n".join(
        (
            gates,
            f"temperature {token.temperature:.2f}, repetition penalty {token.penalty:.2f}",
            f"entropy {token.entropy:.2f} nats, surprisal {token.surprisal:.2f} nats",
            f"reward {token.reward:+.3f}: {terms}",
        )
    )


def _ending(story: Story, limit: int) -> str:
    return "cut off" if len(story.tokens) == limit else "ended by the model"
