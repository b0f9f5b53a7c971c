from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from agents.episodes.drawn_tokens import DrawnToken
from tidal.cli.coloured_text import legend, token_text

Tidal = Callable[..., Any]


def test_same_seed_same_text(tidal: Tidal, model: str) -> None:
    first = tidal("generate", "The dog", "--model", model, "--max_tokens", 8, "--seed", 3)
    again = tidal("generate", "The dog", "--model", model, "--max_tokens", 8, "--seed", 3)
    other = tidal("generate", "The dog", "--model", model, "--max_tokens", 8, "--seed", 4)
    assert first.code == 0 and first.out.startswith("The dog") and len(first.out) > len("The dog\n")
    assert first == again and first.out != other.out


def test_neutral_gates_are_plain_sampling(tidal: Tidal, model: str) -> None:
    plain = tidal("generate", "The dog", "--model", model, "--max_tokens", 8)
    neutral = tidal("generate", "The dog", "--model", model, "--max_tokens", 8, "--gates", 0.5, 0, 0)
    assert plain.out == neutral.out


def test_sampling_options_reach_the_draws(tidal: Tidal, model: str) -> None:
    """With a single token to draw from, neither seed nor temperature can change the text."""
    texts = {
        tidal("generate", "The dog", "--model", model, "--max-tokens", 8, "--seed", seed, *options).out
        for seed, options in ((0, ["--top_k", 1]), (1, ["--top_k", 1, "--temperature", 5]), (2, ["--top_p", 1e-9]))
    }
    assert len(texts) == 1 and "" not in texts


def test_gates_are_listed_where_there_is_no_colour(tidal: Tidal, model: str) -> None:
    code, out, _ = tidal(
        "generate", "The dog", "--model", model, "--max_tokens", 3, "--gates", 1, 0.5, 0.2, "--show_gates"
    )
    rows = out.splitlines()[-3:]
    assert code == 0 and "creativity" in out
    # Gates, then temperature 0.5 + 1 and penalty 1 + 1.5 · 0.2.
    assert all(row.split()[-7:-2] == ["1.00", "0.50", "0.20", "1.50", "1.30"] for row in rows)


def test_tokens_are_coloured_by_gate() -> None:
    console = Console(force_terminal=True, color_system="truecolor", width=200)
    with console.capture() as capture:
        console.print(token_text("dog", (1.0, 0.0, 0.0)))
    assert capture.get() == "\x1b[38;2;255;140;60mdog\x1b[0m\n"  # creativity is orange


def test_legend_gives_means_and_spreads() -> None:
    first = DrawnToken(1, "a", (0.2, 0.0, 1.0), entropy=1.0, surprisal=1.0, reward=0.0)
    tokens = [first, replace(first, gates=(0.4, 0.0, 1.0))]
    assert legend(tokens).plain.startswith("■ creativity 0.30 ± 0.10   ■ focus 0.00 ± 0.00   ■ stability 1.00 ± 0.00")


def test_stop_string_ends_the_text(tidal: Tidal, model: str) -> None:
    whole = tidal("generate", "The dog", "--model", model, "--max_tokens", 12).out
    letter = whole.removeprefix("The dog").strip()[0]
    stopped = tidal("generate", "The dog", "--model", model, "--max_tokens", 12, "--stop", letter).out
    assert letter in stopped.removeprefix("The dog") and len(stopped) < len(whole)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--gates", "0.5", "0", "2"], "`gates` must be finite and lie in [0, 1]. Received 2.0"),
        (["--gates", "0.5", "0", "0", "--controller", "x"], "must not be given together"),
        (["--top_k", "0"], "`modulation.top_k` must be at least 1. Received 0."),
        (["--max_tokens", "500"], "context"),
        (["--controller", "nowhere"], "nowhere holds no controller"),
    ],
)
def test_bad_options(tidal: Tidal, model: str, options: list[str], says: str) -> None:
    code, out, err = tidal("generate", "The dog", "--model", model, *options)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1


def test_more_tokens_than_the_context_holds_names_the_option(tidal: Tidal) -> None:
    run = tidal("generate", "Once", "--max-tokens", 100_000)
    assert run.code == 2 and "`max_tokens` must be at most 25" in run.err
