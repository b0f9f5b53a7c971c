"""The main commands give the figures that were recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.golden_runs import GOLDEN, RUNS, differences


@pytest.mark.parametrize("name", RUNS)
def test_figures_are_as_recorded(name: str, tmp_path: Path) -> None:
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    assert not differences(name, expected, RUNS[name](tmp_path / "run"))
