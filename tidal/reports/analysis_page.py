"""The HTML page of an analysis: figures, tables, and stories with each token's sampling details."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from agents.analysis.analysis import Analysis
from agents.analysis.config import AnalysisConfig
from agents.episodes.drawn_tokens import DrawnToken
from agents.episodes.env_config import EnvConfig
from lm.models.gate_names import GATE_NAMES
from lm.passed_files import BundledInFiles
from lm.runs.provenance import Provenance
from lm.runs.whole_file import write_text
from tidal.reports.analysis_figures import histogram_figure, quarters_figure, sweep_figure
from tidal.reports.pages import page_template

DATA_FILE = "analysis.json"
PAGE_FILE = "analysis.html"
LISTED_PROMPTS = 5
"""Number of prompts listed with the highest returns, and with the lowest."""

VISIBLE = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"})


@dataclass(frozen=True)
class AnalysisRun:
    """Agent, environment and configuration of an analysis."""

    agent: str
    """Command-line name of the agent."""
    env: EnvConfig
    """Environment of the episodes."""
    config: AnalysisConfig
    """Configuration of the analysis."""
    model: BundledInFiles | None = None
    """Language model; overrides that of `env`."""


def write_page(analysis: Analysis, run: AnalysisRun, folder: Path, *, command: str, made_with: Provenance) -> Path:
    """Write the page into the folder and return its path."""
    path = folder / PAGE_FILE
    write_text(path, render_page(analysis, run, command=command, made_with=made_with))
    return path


def render_page(analysis: Analysis, run: AnalysisRun, *, command: str, made_with: Provenance) -> str:
    """The page as HTML.

    Args:
        analysis: result of the analysis.
        run: agent, environment and configuration.
        command: command line that ran it.
        made_with: machine, versions and date.
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
    """A token's text with visible spaces and line breaks."""
    return text.translate(VISIBLE) or "(nothing)"


def piece(token: DrawnToken) -> str:
    """A token as shown in a story: its text, or a mark for an empty text."""
    if token.text.strip():
        return token.text
    return token.text.replace("\n", "↵\n") if token.text else "·"
