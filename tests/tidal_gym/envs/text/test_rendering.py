"""Three ways to look at an episode."""

from __future__ import annotations

import re

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo

from lm.terminal_text import shown_controls
from tests.tidal_gym.conftest import OPENINGS
from tidal_gym.envs.text.rendering import EpisodeView, as_ansi, as_frame, gate_color
from tidal_gym.envs.text.token_pieces import token_pieces
from tidal_gym.envs.vector_env import TidalGatingVectorEnv

ANSI = re.compile(r"\x1b\[[0-9;]*m")
GATES = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def view(pieces: list[str], gates: np.ndarray = GATES) -> EpisodeView:
    return EpisodeView("Once upon", pieces, gates[: len(pieces)], limit=10)


def test_ansi_colours_tokens_by_gate():
    text = as_ansi(view([" a", " time", "."]))
    assert "Once upon a time." in ANSI.sub("", text)
    assert "creativity 0.00  focus 0.00  stability 1.00" in ANSI.sub("", text)
    for piece, gates in zip([" a", " time", "."], GATES, strict=True):
        assert re.search(r"38;2;{};{};{}m".format(*gate_color(gates)) + re.escape(piece), text)
    assert len({gate_color(gates) for gates in [*GATES, [0, 0, 0], [1, 1, 1]]}) == 5


def test_ansi_before_the_first_token():
    assert "Once upon\n[0/10]" in ANSI.sub("", as_ansi(view([])))


def test_pieces_join_to_the_text(tokenizer):
    text = "The old clock, naïve 日本 🙂 end"
    ids = tokenizer(text).input_ids
    pieces = token_pieces(tokenizer, ids, start=1)
    assert len(pieces) == len(ids) - 1 and "".join(pieces) == text
    assert "" in pieces  # parts of a character wait for the rest
    assert "\ufffd" not in "".join(pieces[:-1])


def test_frame_shows_text_and_curves():
    frame, empty = as_frame(view([" a", " time", "."])), as_frame(view([]))
    assert frame.dtype == np.uint8 and frame.shape == (400, 640, 3) and frame.flags.writeable
    text_above, curves_below = frame[:250], frame[270:366]
    assert (text_above != empty[:250]).any()
    assert (curves_below != empty[270:366]).any()
    low, high = as_frame(view([" a"], np.zeros((1, 3)))), as_frame(view([" a"], np.ones((1, 3))))
    assert (low[270:366] != high[270:366]).any()


def test_frame_of_a_long_text_shows_its_end():
    pieces = [" word"] * 400
    gates = np.tile(GATES, (134, 1))
    first = as_frame(EpisodeView("Begin", [*pieces, " apple"], gates[:401], 402))
    second = as_frame(EpisodeView("Begin", [*pieces, " zebra"], gates[:401], 402))
    assert (first != second).any()


@pytest.fixture
def drawn(make_env):
    def make(render_mode: str) -> TidalGatingVectorEnv:
        env = make_env(2, render_mode=render_mode)
        env.reset(seed=3)
        for _ in range(4):
            env.step(np.tile([0.9, 0.1, 0.3], (2, 1)))
        return env

    return make


def test_vector_ansi(drawn):
    env = drawn("ansi")
    pictures = env.render()
    assert isinstance(pictures, tuple) and len(pictures) == 2
    for picture, text in zip(pictures, env.texts(), strict=True):
        plain = ANSI.sub("", picture)
        assert plain.startswith(shown_controls(text[:6]))
        assert "/12]" in plain


def test_vector_frames(drawn):
    frames = drawn("rgb_array").render()
    assert len(frames) == 2
    assert all(frame.dtype == np.uint8 and frame.shape == (400, 640, 3) for frame in frames)


def test_human_writes_to_the_terminal(drawn, capsys):
    env = drawn("human")
    assert env.render() is None
    env.close()
    env.close()
    written = ANSI.sub("", capsys.readouterr().out)
    assert "creativity 0.90" in written and "stability 0.30" in written


def test_rendering_without_a_mode_warns(make_env):
    env = make_env(1)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="`render` needs a render mode"):
        assert env.render() is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_record_video(gated_folder, tmp_path):
    pytest.importorskip("moviepy", reason="RecordVideo needs moviepy")
    env = gymnasium.make(
        "TidalGating-v0", model=gated_folder, prompts=list(OPENINGS), max_episode_steps=5, render_mode="rgb_array"
    )
    env = RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda episode: True, disable_logger=True)
    env.reset(seed=0)
    ended = False
    while not ended:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        ended = terminated or truncated
    env.close()
    assert [path.stat().st_size > 0 for path in tmp_path.glob("videos/*.mp4")] == [True]
