import numpy as np
import pytest

from lm.terminal_text import shown_controls
from tidal_gym.envs.text.rendering import EpisodeView, as_ansi


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\rb\x08\x07\x00", r"a\rb\x08\x07\x00"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\udcff", r"\udcff"),
        ("one\ttwo\nÜber 😀 \\x1b", "one\ttwo\nÜber 😀 \\x1b"),
    ],
)
def test_control_characters_are_shown(text, shown):
    assert shown_controls(text) == shown


def test_a_rendered_text_cannot_steer_the_terminal():
    picture = as_ansi(EpisodeView("A\x1b]0;title\x07", ["\x1b[2J", " cat"], np.zeros((2, 3)), 5))
    assert "\x1b]" not in picture and "\x1b[2J" not in picture and "\x07" not in picture
    assert r"A\x1b]0;title\x07" in picture and r"\x1b[2J" in picture
