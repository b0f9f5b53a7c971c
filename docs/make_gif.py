"""Draw the README's picture from a real run: ``python docs/make_gif.py --controller runs/first/controller``.

The GIF shows a controller writing one episode of the evaluation on held-out openings, by default the first. Text
appears token by token. The background of a token shows its gates; the curves below show them over the whole episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jsonargparse import auto_cli
from PIL import Image, ImageDraw, ImageFont

from agents import Controller, EnvConfig
from agents.episodes.stories import Story, tell_story
from lm.models.gate_names import GATE_NAMES

Color = tuple[int, int, int]

WIDTH, MARGIN = 1600, 56
"""Width of the picture and of its border [pixels], for screens with two pixels a point."""

PAPER, INK, FAINT, RULE = (255, 255, 255), (31, 35, 40), (110, 118, 129), (222, 226, 231)
GATE_COLORS: tuple[Color, ...] = ((230, 110, 20), (24, 150, 80), (55, 110, 230))
TINT = 0.62
"""Opacity of a gate's colour where the gate is 1."""

GATE_EFFECTS = ("temperature", "attention to recent tokens", "repetition penalty")

TEXT_FONT, LABEL_FONT, NOTE_FONT = (ImageFont.load_default(size) for size in (37, 30, 22))
LINE_HEIGHT, PILL_HEIGHT, BASELINE, SPACE = 62, 48, 36, TEXT_FONT.getlength(" ") + 6
TEXT_TOP, CURVE_HEIGHT, CURVE_GAP, LABELS_WIDTH, VALUES_WIDTH = 44, 84, 38, 320, 84

TOKEN_TIME, FIRST_TIME, LAST_TIME = 170, 1200, 5000
"""How long a frame stays [milliseconds]: with each token, before the first one, and with the finished story."""


class Part(NamedTuple):
    """The part of a token that belongs to one word."""

    x: float
    """Distance from the left end of the line [pixels]."""
    line: int
    """Number of the line, from 0."""
    text: str
    """Its characters."""
    is_first: bool
    """Whether the word begins with it."""
    is_last: bool
    """Whether the word ends with it."""


def main(
    controller: str,
    model: str = "tidal-tiny",
    seed: int = 0,
    episode: int = 0,
    output: str = str(Path(__file__).parent / "images" / "story.gif"),
) -> None:
    """Draw the GIF.

    Args:
        controller: folder of a controller.
        model: a bundled name, a folder or a hub id.
        seed: of the evaluation.
        episode: number of the episode in it.
        output: GIF file.
    """
    env = EnvConfig(model=model, prompts="heldout")
    frames = draw_frames(tell_story(Controller.load(controller), env, seed=seed, episode=episode))
    palette = frames[-1].quantize(method=Image.Quantize.MAXCOVERAGE, kmeans=5)  # the last frame has every colour
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    times = [FIRST_TIME, *[TOKEN_TIME] * (len(others) - 1), LAST_TIME]
    first.save(output, save_all=True, append_images=others, duration=times, loop=0, optimize=True)


def draw_frames(story: Story) -> list[Image.Image]:
    """A frame with the opening alone, and one more after each token."""
    pieces = [story.prompt, *(token.text.replace("\n", " ") for token in story.tokens)]
    places = lay_out(pieces, WIDTH - 2 * MARGIN)
    gates = np.array([token.gates for token in story.tokens])  # (T, 3)
    text_height = (1 + max(part.line for parts in places for part in parts)) * LINE_HEIGHT
    curves_top = TEXT_TOP + text_height + 52
    height = curves_top + len(GATE_NAMES) * (CURVE_HEIGHT + CURVE_GAP) + 32
    frames = []
    for drawn in range(len(gates) + 1):
        frame = Image.new("RGB", (WIDTH, height), PAPER)
        canvas = ImageDraw.Draw(frame)
        draw_text(canvas, places[: drawn + 1], gates)
        draw_curves(canvas, gates[:drawn], len(gates), curves_top)
        frames.append(frame)
    return frames


def lay_out(pieces: Sequence[str], width: float) -> list[list[Part]]:
    """Where each piece of text is written: its parts, one for each word that it touches. Lines break at spaces only."""
    words: list[list[tuple[int, str]]] = [[]]  # the parts of each word, with the number of their piece
    for number, piece in enumerate(pieces):
        for index, text in enumerate(piece.split(" ")):
            if index:
                words.append([])
            if text:
                words[-1].append((number, text))
    places: list[list[Part]] = [[] for _ in pieces]
    x, line = 0.0, 0
    for word in words:
        if x + sum(TEXT_FONT.getlength(text) for _, text in word) > width:
            x, line = 0.0, line + 1
        for place, (number, text) in enumerate(word):
            is_last = place == len(word) - 1
            places[number].append(Part(x, line, text, is_first=place == 0, is_last=is_last))
            x += TEXT_FONT.getlength(text)
        x += SPACE
    return places


def draw_text(canvas: ImageDraw.ImageDraw, places: Sequence[Sequence[Part]], gates: np.ndarray) -> None:
    """The opening in grey, and each token on the colour of its gates."""
    for number, parts in enumerate(places):
        for part in parts:
            left, top = MARGIN + part.x, TEXT_TOP + part.line * LINE_HEIGHT
            if number:
                right = left + TEXT_FONT.getlength(part.text)
                box = (left - 3 * part.is_first, top, right + 3 * part.is_last, top + PILL_HEIGHT)
                corners = (part.is_first, part.is_last, part.is_last, part.is_first)
                canvas.rounded_rectangle(box, radius=7, fill=tint(gates[number - 1]), corners=corners)
            position = (left, top + BASELINE)
            canvas.text(position, part.text, font=TEXT_FONT, fill=INK if number else FAINT, anchor="ls")


def tint(gates: Sequence[float]) -> Color:
    """The gates' colours, mixed by the squares of their values; the lower the highest gate, the nearer to white."""
    values = np.asarray(gates, np.float64)
    color = np.average(GATE_COLORS, axis=0, weights=values**2 + 1e-6)
    red, green, blue = (255 + TINT * values.max() * (color - 255)).astype(int).tolist()
    return red, green, blue


def draw_curves(canvas: ImageDraw.ImageDraw, gates: np.ndarray, num_tokens: int, top: int) -> None:
    """One curve for each gate, from 0 to 1, with the gate's name at its left and its newest value at its right."""
    left, right = MARGIN + LABELS_WIDTH, WIDTH - MARGIN - VALUES_WIDTH
    step = (right - left) / num_tokens
    for gate, (name, effect, color) in enumerate(zip(GATE_NAMES, GATE_EFFECTS, GATE_COLORS, strict=True)):
        upper = top + gate * (CURVE_HEIGHT + CURVE_GAP)
        lower = upper + CURVE_HEIGHT
        canvas.text((MARGIN, lower - 40), name, font=LABEL_FONT, fill=color, anchor="ls")
        canvas.text((MARGIN, lower - 8), effect, font=NOTE_FONT, fill=FAINT, anchor="ls")
        canvas.line([(left, upper), (right, upper)], fill=RULE, width=1)
        canvas.line([(left, lower), (right, lower)], fill=RULE, width=2)
        for y, value in ((upper, "1"), (lower, "0")):
            canvas.text((left - 14, y), value, font=NOTE_FONT, fill=FAINT, anchor="rm")
        if len(gates):
            curve = []
            for place, value in enumerate(gates[:, gate]):
                y = lower - value * CURVE_HEIGHT
                curve += [(left + place * step, y), (left + (place + 1) * step, y)]
            light = tint(0.5 * np.eye(len(GATE_NAMES))[gate])
            canvas.polygon([(left, lower), *curve, (curve[-1][0], lower)], fill=light)
            canvas.line(curve, fill=color, width=4, joint="curve")
            canvas.circle(curve[-1], 7, fill=color)
            canvas.text((right + 18, curve[-1][1]), f"{gates[-1, gate]:.2f}", font=NOTE_FONT, fill=color, anchor="lm")
    canvas.text((left, lower + 18), "token 1", font=NOTE_FONT, fill=FAINT, anchor="lt")
    canvas.text((right, lower + 18), f"{num_tokens}", font=NOTE_FONT, fill=FAINT, anchor="rt")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
