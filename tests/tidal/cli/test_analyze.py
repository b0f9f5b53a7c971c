from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from agents.analysis.analysis import analyze
from agents.analysis.config import AnalysisConfig
from agents.baselines.baselines import Random
from agents.episodes.drawn_tokens import Alternative
from agents.episodes.env_config import EnvConfig
from lm.runs.provenance import provenance
from tidal.reports.analysis_page import AnalysisRun, render_page, shown

Tidal = Callable[..., Any]

SHORT = ("--episodes", 4, "--num_envs", 4, "--stories", 2, "--window", 2, "--min_occurrences", 1, "--sweep_episodes", 2,
         "--repeated_prompts", 2, "--env.max_episode_steps", 5)  # fmt: skip


class Page(HTMLParser):
    """A page's tokens and cards, and whether its elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._open: list[tuple[str, str]] = []
        self.tokens: list[dict[str, str]] = []
        self.cards: dict[str, str] = {}
        self.text = ""
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list) -> None:
        found = dict(attributes)
        if tag not in ("meta", "input", "br"):
            self._open.append((tag, found.get("id", "")))
        if found.get("class", "").startswith("token") and tag == "span":
            self.tokens.append({**found, "text": ""})

    def handle_startendtag(self, tag: str, attributes: list) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        card = next((name for _, name in self._open if name.startswith("card-")), None)
        if card:
            self.cards[card] = self.cards.get(card, "") + data
        elif self._open and self._open[-1][0] == "span" and ("article", "") in self._open and self.tokens:
            self.tokens[-1]["text"] += data
        self.text += data


@pytest.fixture(scope="module")
def folder(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An analysis of random gates."""
    from tidal.cli.main import main

    folder = tmp_path_factory.mktemp("runs") / "analysis"
    arguments = ["analyze", "--agent", "random", "--model", model, "--output", folder, *SHORT]
    assert main([str(argument) for argument in arguments]) == 0
    return folder


def test_figures_as_json(folder: Path) -> None:
    data = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert data["command"] == record["command"] and "torch" in data["made_with"]["versions"]
    analysis = data["analysis"]
    assert (analysis["agent"], analysis["num_episodes"]) == ("random", 4)
    assert list(analysis["gates"]) == ["creativity", "focus", "stability"]
    assert len(analysis["sweep"]) == 15 and len(analysis["stories"]) == 2
    assert len(analysis["correlations"]) == 9
    config = record["config"]
    assert config["agent"] == "random" and config["env"]["max_episode_steps"] == 5 and config["config"]["window"] == 2


def test_page_holds_every_token_and_its_alternatives(folder: Path) -> None:
    stories = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))["analysis"]["stories"]
    page = Page((folder / "analysis.html").read_text(encoding="utf-8"))
    tokens = [(place, token) for story in stories for place, token in enumerate(story["tokens"], start=1)]
    assert len(page.tokens) == len(tokens) == len(page.cards)
    for (place, token), element in zip(tokens, page.tokens, strict=True):
        assert element["tabindex"] == "0"  # the keyboard reaches it
        assert token["text"].strip() in element["text"]
        gates = [float(value) for value in re.findall(r"--[cfs]:([\d.]+)", element["style"])]
        assert gates == pytest.approx(token["gates"], abs=6e-4)
        card = page.cards[element["aria-describedby"]]
        for name, value in zip(("creativity", "focus", "stability"), token["gates"], strict=True):
            assert re.search(rf"{name}\s+{value:.2f}", card)
        assert re.search(rf"temperature\s+{token['temperature']:.2f}", card)
        assert re.search(rf"entropy\s+{token['entropy']:.2f} nats", card)
        assert f"{token['reward']:+.3f}" in card and f"token {place}, choice {token['rank']}" in card
        for name, value in token["terms"].items():
            assert re.search(rf"{name}\s+{re.escape(f'{value:+.2f}')}", card)
        options = card[card.index("could have been") :]
        for one in (token["drawn"], *token["alternatives"]):
            assert shown(one["text"]) in options
            assert f"{100 * one['q']:.1f}%" in options or one["q"] < 0.0005
            assert f"{100 * one['p']:.1f}%" in options or one["p"] < 0.0005
        assert options.count("◂ drawn") == 1 and len(token["alternatives"]) == 5


def test_page_needs_nothing_else(folder: Path) -> None:
    page = (folder / "analysis.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:link|img|iframe)\b", page) == [] and "<script>" in page and "<script src" not in page
    assert re.findall(r"url\((?!#)", page) == [] and "@import" not in page
    assert not re.search(r"#01020\d", page) and page.count('role="img"') == 3
    assert [link for link in re.findall(r"(?:src|href)=\"([^\"]*)\"", page) if not link.startswith("#")] == []


def test_odd_tokens_are_escaped(model: str) -> None:
    env = EnvConfig(model=model, max_episode_steps=3)
    config = AnalysisConfig(episodes=2, stories=1, repeated_prompts=0, sweep_episodes=0)
    analysis = analyze(Random(), env, config)
    (story,) = analysis.stories
    odd = Alternative(7, "<script>alert('&')</script>", 0.5, 1e-5)
    tokens = tuple(
        replace(token, text=text, drawn=replace(odd, text=name), alternatives=(odd,))
        for token, text, name in zip(story.tokens, ("<b>&amp;", "\n", ""), ("<b>&amp;", "\n", "<0xE2>"), strict=True)
    )
    story = replace(story, prompt='<i class="x">', tokens=tokens)
    page = render_page(
        replace(analysis, stories=(story,), agent="<me>"),
        AnalysisRun("<me>", env, config),
        command="tidal analyze --agent '<me>'",
        made_with=provenance(),
    )
    assert page.count("<script>") == 1 and "<b>&amp;" not in page and '<i class="x">' not in page and "<me>" not in page
    parsed = Page(page)
    assert [token["text"] for token in parsed.tokens] == ["<b>&amp;", "↵\n", "·"]
    assert [card.split()[0] for card in parsed.cards.values()] == ["<b>&amp;", "↵", "<0xE2>"]
    assert all("<script>alert('&')</script>" in card and "<0.1%" in card for card in parsed.cards.values())


def test_output_is_not_overwritten_unasked(tidal: Tidal, model: str, folder: Path) -> None:
    arguments = ("analyze", "--agent", "neutral", "--model", model, "--output", folder, *SHORT)
    refused = tidal(*arguments)
    assert refused.code == 2 and "already holds a run" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--agent", "nobody"), "`agent` must be one of"),
        (("--agent", "min-p"), "`agent` must set gates"),
        (("--agent", "neutral", "--episodes", 0), "`episodes` must be at least 1. Received 0"),
        (("--agent", "neutral", "--window", 1), "`window` must be at least 2. Received 1"),
        (("--agent", "neutral", "--prompts", "nowhere.txt"), "`prompts` must"),
        (("--agent", "neutral", "--windows", 3), "See `tidal analyze --help`"),
    ],
)
def test_bad_input_leaves_no_folder(
    tidal: Tidal, model: str, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    code, _, err = tidal("analyze", *arguments, "--model", model, "--output", tmp_path / "analysis")
    assert code == 2 and message in err
    assert not (tmp_path / "analysis").exists()
