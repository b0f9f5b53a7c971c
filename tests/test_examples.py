"""Every example is run as a user would run it, with small numbers."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

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
"""Words that only a script that came to its end has printed."""

NOTEBOOK_SHORT = {
    "tidal_gym_tour.ipynb": {"steps": 1, "episodes": 4},
    "coherence_rewards.ipynb": {"steps": 1, "episodes": 4, "num_envs": 4},
}
"""Parameters of each notebook."""

FIGURES = {"tidal_gym_tour.ipynb": 5, "coherence_rewards.ipynb": 3}


def test_every_script_is_run() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(SHORT)


@pytest.mark.parametrize("script", SHORT)
def test_script(script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [script, *SHORT[script]])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert PRINTED[script] in capsys.readouterr().out


def test_sb3_example_is_short() -> None:
    assert len((EXAMPLES / "03_train_with_sb3.py").read_text(encoding="utf-8").splitlines()) < 40


def test_every_notebook_is_run() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.ipynb")) == sorted(NOTEBOOK_SHORT)


def run_notebook(name: str) -> dict:
    """All code cells in order, in one namespace, after that of the parameters with short ones; no kernel is needed."""
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    namespace: dict = {"__name__": "__main__"}
    try:
        for number, cell in enumerate(cells):
            exec(compile("".join(cell["source"]), f"notebook cell {number}", "exec"), namespace)
            if "parameters" in cell["metadata"].get("tags", ()):
                assert namespace.keys() >= NOTEBOOK_SHORT[name].keys()
                namespace.update(NOTEBOOK_SHORT[name])
        assert len(pyplot.get_fignums()) == FIGURES[name]
    finally:
        pyplot.close("all")
    return namespace


def test_tour() -> None:
    namespace = run_notebook("tidal_gym_tour.ipynb")
    assert namespace["curve"][-1].total_steps == 1, "the short parameters were not used"
    assert "rgb(" in namespace["colored"](namespace["results"][-1].samples[0])


def test_coherence_rewards() -> None:
    results = run_notebook("coherence_rewards.ipynb")["results"]
    assert list(results) == ["neutral", "tidal", "carl", "mixed", "judge-free"]
    assert all(len(result.returns) == 4 for result in results.values()), "the short parameters were not used"
