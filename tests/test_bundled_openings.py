"""The bundled openings keep what CONTRIBUTING.md promises of them."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "tidal_gym" / "envs" / "text" / "openings"


def _openings(split: str) -> list[str]:
    return (FOLDER / f"{split}.txt").read_text(encoding="ascii").splitlines()


@pytest.mark.parametrize(("split", "at_least"), [("train", 384), ("heldout", 192)])
def test_there_are_enough_of_a_useful_length(split: str, at_least: int) -> None:
    openings = _openings(split)
    assert len(openings) >= at_least
    assert [opening for opening in openings if not 12 <= len(opening.split()) <= 25] == []


def test_no_two_begin_alike() -> None:
    beginnings: dict[tuple[str, ...], str] = {}
    for opening in _openings("train") + _openings("heldout"):
        first_words = tuple(re.findall(r"[a-z']+", opening.lower())[:5])
        assert first_words not in beginnings, f"{opening!r} begins like {beginnings[first_words]!r}"
        beginnings[first_words] = opening
