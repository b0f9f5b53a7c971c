"""Rendering of an episode: coloured text for a terminal, and a frame with text and gate curves for a video."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from lm.models.gate_names import GATE_NAMES
from lm.terminal_text import shown_controls
from tidal_gym.envs.text.token_pieces import token_pieces

GATE_COLORS = ((255, 140, 60), (90, 200, 120), (100, 150, 255))
"""Colours of the gates: creativity orange, focus green, stability blue; brighter for higher values."""

FRAME_SIZE = (640, 400)
"""Width and height of a frame [pixels]; even, as video encoders want it."""

TERMINAL_WIDTH = 100
"""Line width in the `ansi` mode [characters]."""

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

_BACKGROUND, _FAINT, _PLAIN = (24, 24, 32), (70, 70, 84), (170, 170, 180)


class EpisodeView(NamedTuple):
    """Data of an episode for rendering."""

    prompt: str
    """Text of the prompt."""
    pieces: Sequence[str]
    """Text of each drawn token."""
    gates: NDArray[np.float64]
    """(T, 3) gates of each drawn token."""
    limit: int
    """Maximum number of drawn tokens of the episode."""


def view_episode(
    tokenizer: PreTrainedTokenizerBase,
    token_ids: Sequence[int],
    prompt_length: int,
    gates: NDArray[np.float64],
    limit: int,
) -> EpisodeView:
    """Makes the view from an episode's tokens, the first `prompt_length` of which are the prompt, and gates (T, 3)."""
    prompt = tokenizer.decode(list(token_ids[:prompt_length]), skip_special_tokens=True)
    return EpisodeView(prompt, token_pieces(tokenizer, token_ids, start=prompt_length), gates, limit)


def gate_color(gates: Sequence[float]) -> tuple[int, int, int]:
    """A token's colour: grey plus each gate's colour weighted by its value."""
    ground = np.full(3, 105.0)
    color = ground + sum(gate * (np.array(own) - ground) for gate, own in zip(gates, GATE_COLORS, strict=True))
    red, green, blue = np.clip(color, 40, 255).astype(int).tolist()
    return red, green, blue


def as_text(view: EpisodeView) -> Text:
    """The episode as rich text: dim prompt, drawn tokens coloured by gate, and a legend with the last gates."""
    text = Text(shown_controls(view.prompt), style="dim")
    for piece, gates in zip(view.pieces, view.gates, strict=True):
        text.append(shown_controls(piece), style="bold rgb({},{},{})".format(*gate_color(gates)))
    text.append(f"\n[{len(view.pieces)}/{view.limit}]", style="dim")
    for gate, name in enumerate(GATE_NAMES):
        value = f"{view.gates[-1, gate]:.2f}" if len(view.gates) else "–"
        text.append(f"  {name} {value}", style="rgb({},{},{})".format(*GATE_COLORS[gate]))
    return text


def as_ansi(view: EpisodeView) -> str:
    """The episode as a string with ANSI colours, independent of the process's terminal."""
    buffer = io.StringIO()
    console = Console(
        file=buffer, force_terminal=True, color_system="truecolor", width=TERMINAL_WIDTH, legacy_windows=False
    )
    console.print(as_text(view))
    return buffer.getvalue()


def as_frame(view: EpisodeView) -> NDArray[np.uint8]:
    """The episode as an image (height, width, 3): coloured text above, one curve for each gate below."""
    width, height = FRAME_SIZE
    image = Image.new("RGB", FRAME_SIZE, _BACKGROUND)
    canvas = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=16)
    curve_top = height - 130
    _draw_text(canvas, font, view, box=(16, 12, width - 16, curve_top - 12))
    _draw_curves(canvas, view, box=(16, curve_top, width - 16, height - 34))
    left = 16.0
    for name, color in zip(GATE_NAMES, GATE_COLORS, strict=True):
        canvas.text((left, height - 26), name, font=font, fill=color)
        left += canvas.textlength(name, font=font) + 24
    return np.asarray(image).copy()


class Renderer:
    """Renders episodes in one of Gymnasium's render modes: `ansi`, `rgb_array` or `human` (live in the terminal)."""

    def __init__(self, render_mode: str) -> None:
        self._render_mode = render_mode
        self._live: Live | None = None

    def show(self, views: Sequence[EpisodeView]) -> tuple[Any, ...] | None:
        """Renders each episode as a string or an image; `human` shows them and returns None."""
        if self._render_mode != "human":
            return tuple(map(as_ansi if self._render_mode == "ansi" else as_frame, views))
        if self._live is None:
            self._live = Live(auto_refresh=False)
            self._live.start()
        self._live.update(Group(*(Panel(as_text(view)) for view in views)), refresh=True)
        return None

    def close(self) -> None:
        """Ends the live display; the last frame stays in the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _draw_text(canvas: ImageDraw.ImageDraw, font: Font, view: EpisodeView, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    colors = [_PLAIN, *(gate_color(gates) for gates in view.gates)]
    words = [
        (word, color)
        for piece, color in zip([view.prompt, *view.pieces], colors, strict=True)
        for word in piece.replace("\n", " ").replace(" ", "\0 ").split("\0")
        if word
    ]
    lines: list[list[tuple[float, str, tuple[int, int, int]]]] = [[]]
    x = float(left)
    for word, color in words:
        length = canvas.textlength(word, font=font)
        if x + length > right:
            lines.append([])
            x, word = float(left), word.lstrip()
            length = canvas.textlength(word, font=font)
        lines[-1].append((x, word, color))
        x += length
    line_height = 22
    visible = lines[-((bottom - top) // line_height) :]  # the end of a long text
    for number, line in enumerate(visible):
        for x, word, color in line:
            canvas.text((x, top + number * line_height), word, font=font, fill=color)


def _draw_curves(canvas: ImageDraw.ImageDraw, view: EpisodeView, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    canvas.rectangle(box, outline=_FAINT)
    step = (right - left) / max(view.limit, 1)
    for gate, color in enumerate(GATE_COLORS):
        points = []
        for place, value in enumerate(view.gates[:, gate]):
            y = bottom - value * (bottom - top)
            points += [(left + place * step, y), (left + (place + 1) * step, y)]
        if points:
            canvas.line(points, fill=color, width=2)
