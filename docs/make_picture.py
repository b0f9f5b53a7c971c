"""Draw the picture of the README from a real run: ``python docs/make_picture.py --controller FOLDER``.

It shows an episode of the evaluation on held-out openings, by default the very first, written twice with the same
random numbers: by plain sampling, and by a controller, its tokens in the colours of its gates.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from matplotlib.figure import Figure

from agents import Controller, EnvConfig, Neutral
from agents.stories import Story, tell_story
from tidal_gym.actions import GATE_NAMES
from tidal_gym.rendering import GATE_COLORS, gate_color

GROUND, FAINT, PLAIN = "#181820", "#80808e", "#c8c8d0"
COLUMNS = 92
FONT_SIZE, LINE_HEIGHT, MARGIN, CURVES_HEIGHT = 10.0, 16.0, 16.0, 96.0  # [points]
CHARACTER_WIDTH = FONT_SIZE * 1233 / 2048  # advance of every character of DejaVu Sans Mono

ColoredText = list[tuple[str, str]]
"""Characters with their colours."""


def main(
    controller: str,
    model: str = "tidal-tiny",
    seed: int = 0,
    episode: int = 0,
    output: str = str(Path(__file__).parent / "images" / "story.png"),
) -> None:
    """Draw the picture.

    Args:
        controller: folder of a controller.
        model: a bundled name, a folder or a hub id.
        seed: of the evaluation.
        episode: number of the episode in it.
        output: image file.
    """
    env = EnvConfig(model=model, prompts="heldout")
    plain, controlled = (
        tell_story(agent, env, seed=seed, episode=episode) for agent in (Neutral(), Controller.load(controller))
    )
    draw(plain, controlled).savefig(output, facecolor=GROUND)


def draw(plain: Story, controlled: Story) -> Figure:
    """Both stories, and the gates of the second below it.

    Returns are left out: those of a single episode say nothing.
    """
    blocks = [
        ("plain sampling", wrapped(colored(plain, is_controlled=False))),
        ("learned gates", wrapped(colored(controlled, is_controlled=True))),
    ]
    num_lines = sum(len(lines) for _, lines in blocks) + 6  # a heading and an empty line each
    width = 2 * MARGIN + COLUMNS * CHARACTER_WIDTH
    height = 2 * MARGIN + num_lines * LINE_HEIGHT + CURVES_HEIGHT + 14
    figure = Figure(figsize=(width / 72, height / 72), dpi=200)

    def write(line: int, column: int, text: str, color: str) -> None:
        x, y = MARGIN + column * CHARACTER_WIDTH, height - MARGIN - (line + 0.8) * LINE_HEIGHT
        figure.text(x / width, y / height, text, color=color, family="DejaVu Sans Mono", size=FONT_SIZE)

    line = 0
    for heading, lines in blocks:
        write(line, 0, heading, FAINT)
        for number, characters in enumerate(lines, start=line + 1):
            for column, (character, color) in enumerate(characters):
                write(number, column, character, color)
        line += len(lines) + 2

    left = MARGIN + 4 * CHARACTER_WIDTH
    box = (left / width, (MARGIN + 14) / height, (width - left - MARGIN) / width, CURVES_HEIGHT / height)
    axes = figure.add_axes(box, facecolor=GROUND)
    gates = np.array([token.gates for token in controlled.tokens])  # (T, 3)
    write(line, 0, "its gates, token by token", FAINT)
    column = COLUMNS - len("    ".join(GATE_NAMES)) - 2
    for gate, name in enumerate(GATE_NAMES):
        color = np.array(GATE_COLORS[gate]) / 255
        axes.step(np.arange(1, len(gates) + 1), gates[:, gate], where="mid", color=color, linewidth=1.5)
        write(line, column, f"■ {name}", color)
        column += len(name) + 4
    axes.set_xlim(0.5, len(gates) + 0.5)
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks((0, 0.5, 1))
    axes.tick_params(colors=FAINT, length=0, labelsize=8)
    axes.grid(axis="y", color=FAINT, linewidth=0.3, alpha=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def colored(story: Story, *, is_controlled: bool) -> ColoredText:
    """The story character by character: the opening faint, drawn tokens plain or in the colours of their gates."""
    characters = [(character, FAINT) for character in story.prompt]
    for token in story.tokens:
        color = "#{:02x}{:02x}{:02x}".format(*gate_color(token.gates)) if is_controlled else PLAIN
        characters += [(" " if character == "\n" else character, color) for character in token.text]
    return characters


def wrapped(characters: ColoredText) -> list[ColoredText]:
    """Lines of at most COLUMNS characters, broken at spaces."""
    lines = []
    while len(characters) > COLUMNS:
        spaces = [place for place in range(COLUMNS + 1) if characters[place][0] == " "]
        end = spaces[-1] if spaces else COLUMNS
        lines.append(characters[:end])
        characters = characters[end + bool(spaces) :]
    return [*lines, characters]


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
