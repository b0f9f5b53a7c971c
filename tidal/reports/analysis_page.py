"""The page of an analysis: figures, tables, and stories whose tokens tell what they were drawn under."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from agents.analysis.analysis import Analysis
from agents.analysis.config import AnalysisConfig
from agents.episodes.drawn_tokens import DrawnToken
from agents.episodes.env_config import EnvConfig
from lm.models.gate_names import GATE_NAMES
from lm.runs.provenance import Provenance
from lm.runs.whole_file import write_text
from tidal.reports.analysis_figures import histogram_figure, quarters_figure, sweep_figure
from tidal.reports.pages import page_template

DATA_FILE = "analysis.json"
PAGE_FILE = "analysis.html"
LISTED_PROMPTS = 5
"""At each end of the returns."""

VISIBLE = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"})


@dataclass(frozen=True)
class AnalysisRun:
    """What was asked for."""

    agent: str
    """Name of the agent, as the command line knows it."""
    env: EnvConfig
    """The environment."""
    config: AnalysisConfig
    """What was looked at."""


def write_page(analysis: Analysis, run: AnalysisRun, folder: Path, *, command: str, made_with: Provenance) -> Path:
    """Write the page into the folder and return its path."""
    path = folder / PAGE_FILE
    write_text(path, render_page(analysis, run, command=command, made_with=made_with))
    return path


def render_page(analysis: Analysis, run: AnalysisRun, *, command: str, made_with: Provenance) -> str:
    """The page as HTML.

    Args:
        analysis: what was found.
        run: what was asked for.
        command: the command line that made it.
        made_with: machine, versions, date.
    """
    figures = {
        "histogram": histogram_figure(analysis.gates),
        "quarters": quarters_figure(analysis.quarters),
        "sweep": sweep_figure("the agent", analysis.swept_return, analysis.sweep) if analysis.sweep else "",
    }
    return page_template("analysis.html.j2").render(
        analysis=analysis,
        run=run,
        figures={name: Markup(figure) for name, figure in figures.items()},
        gate_names=GATE_NAMES,
        listed_prompts=LISTED_PROMPTS,
        shown=shown,
        piece=piece,
        command=command,
        made_with=made_with,
    )


def shown(text: str) -> str:
    """A token's text with its spaces and line breaks made visible."""
    return text.translate(VISIBLE) or "(nothing)"


def piece(token: DrawnToken) -> str:
    """What stands for a token in its story: its text, or a mark where there is nothing to see."""
    if token.text.strip():
        return token.text
    return token.text.replace("\n", "↵\n") if token.text else "·"
