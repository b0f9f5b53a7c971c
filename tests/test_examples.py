"""Every example is run as a user would run it, with small numbers."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot

EXAMPLES = Path(__file__).parent.parent / "examples"

SHORT = {
    "01_step_by_hand.py": ["--tokens", "4"],
    "02_random_agent.py": ["--episodes", "4"],
    "03_train_with_sb3.py": ["--steps", "400", "--envs", "4"],
    "04_change_the_reward.py": ["--tokens", "4"],
    "05_controller_in_generate.py": ["--steps", "1", "--tokens", "6"],
    "06_coherence_rewards.py": ["--steps", "1", "--episodes", "4", "--num_envs", "4"],
}
"""Options of each script."""

PRINTED = {
    "01_step_by_hand.py": "reward_coherence",
    "02_random_agent.py": "random - neutral",
    "03_train_with_sb3.py": "trained",
    "04_change_the_reward.py": "Expected reward",
    "05_controller_in_generate.py": "controlled: 'Once upon a time",
    "06_coherence_rewards.py": "judge-free: '",
}
"""Output of a complete run of each script."""

SHORT_NOTEBOOKS = {
    "tidal_gym_tour.ipynb": {"steps": 1, "episodes": 4},
    "coherence_rewards.ipynb": {"steps": 1, "episodes": 4, "num_envs": 4},
    "rlm_data.ipynb": {"vocab_size": 8, "depth": 2, "sentences": 500, "transition_sizes": (4, 8), "seeds": 1},
    "rlm_run.ipynb": {"steps": 20, "vocab_size": 8, "depth": 2, "test_size": 64},
}
"""Parameters of each notebook."""


def test_every_example_is_run() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(SHORT)
    assert sorted(path.name for path in EXAMPLES.glob("*.ipynb")) == sorted(SHORT_NOTEBOOKS)


@pytest.mark.unseeded  # the scripts only have to run
@pytest.mark.parametrize("script", SHORT)
def test_script(script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [script, *SHORT[script]])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert PRINTED[script] in capsys.readouterr().out


def test_sb3_example_is_short() -> None:
    assert len((EXAMPLES / "03_train_with_sb3.py").read_text(encoding="utf-8").splitlines()) < 40


@contextmanager
def run_notebook(name: str) -> Iterator[dict[str, Any]]:
    """All code cells in order, in one namespace, after that of the parameters with short ones; no kernel is needed."""
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        for number, cell in enumerate(cells):
            exec(compile("".join(cell["source"]), f"notebook cell {number}", "exec"), namespace)
            if "parameters" in cell["metadata"].get("tags", ()):
                assert namespace.keys() >= SHORT_NOTEBOOKS[name].keys()
                namespace.update(SHORT_NOTEBOOKS[name])
        yield namespace
    finally:
        pyplot.close("all")


def test_tour() -> None:
    with run_notebook("tidal_gym_tour.ipynb") as namespace:
        assert len(pyplot.get_fignums()) == 5
    assert namespace["curve"][-1].total_steps == 1, "the short parameters were not used"
    assert "rgb(" in namespace["colored"](namespace["results"][-1].samples[0])


def test_coherence_rewards() -> None:
    with run_notebook("coherence_rewards.ipynb") as namespace:
        assert len(pyplot.get_fignums()) == 3
    results = namespace["results"]
    assert list(results) == ["neutral", "tidal", "carl", "mixed", "judge-free"]
    assert all(len(result.returns) == 4 for result in results.values()), "the short parameters were not used"


def test_notebook_on_the_data() -> None:
    with run_notebook("rlm_data.ipynb") as namespace:
        assert len(pyplot.get_fignums()) == 6
    assert namespace["grammar"].vocab_size == 8 and namespace["largest_deviation"] < 4
    assert namespace["information"][0, 1] > namespace["information"][0, 2]


def test_notebook_on_a_run() -> None:
    with run_notebook("rlm_run.ipynb") as namespace:
        assert len(pyplot.get_fignums()) == 5
    assert namespace["points"][-1].step == 20
    assert namespace["by_level"].sum(axis=-1) == pytest.approx(1.0, abs=1e-5)
