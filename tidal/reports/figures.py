"""Style of all figures: matplotlib drawings as inline SVG whose colours are the page's CSS variables.

Each colour here is a placeholder of a CSS variable, so that figures follow the page's light or dark theme.
"""

from __future__ import annotations

import io
import re

from matplotlib.figure import Figure

from lm.models.gate_names import GATE_NAMES

INK, MUTED, LINE, ACCENT = "#010203", "#010204", "#010205", "#010206"
GATES = ("#010207", "#010208", "#010209")
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", **dict(zip(GATES, GATE_NAMES, strict=True))}

STYLE = {
    "svg.fonttype": "none",  # keep text as text: the page's font, selectable
    "svg.hashsalt": "tidal",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
}


def inline_svg(figure: Figure, label: str) -> str:
    """A figure as inline SVG in the page's colours; `label` is its description for screen readers."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    # The page sets the size; the view box keeps the proportions.
    drawing = re.sub(
        r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', rf'\1 role="img" aria-label="{label}"', drawing, count=1
    )
    for color, name in VARIABLES.items():
        drawing = drawing.replace(color, f"var(--{name})")
    return drawing
