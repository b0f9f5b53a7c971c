from __future__ import annotations

import json
from pathlib import Path

import pytest

SHORT = ("--env_steps", 96, "--num_envs", 4, "--env.max_episode_steps", 6)


def test_tuned_methods_are_agents(tidal, model: str, tmp_path: Path) -> None:
    folder = tmp_path / "tuning"
    arguments = ("tune", "--model", model, "--output", folder, *SHORT)
    code, out, _ = tidal(*arguments, "--decoder", "min-p")
    assert code == 0 and "min-p" in out
    first = (folder / "min-p.json").read_text(encoding="utf-8")
    found = json.loads(first)
    assert found["family"] == "min-p" and found["env_steps"] <= 96
    assert [trial["round"] for trial in found["trials"]] == [0, 0, 1, 1]

    code, _, err = tidal(*arguments, "--decoder", "min-p", "edt")
    assert code == 2 and "--resume" in err
    code, out, _ = tidal(*arguments, "--decoder", "min-p", "edt", "--resume")  # goes on with what is missing
    assert code == 0 and "edt" in out and "min-p" in out
    assert tidal(*arguments, "--decoder", "min-p", "edt", "--resume").code == 0  # nothing is left to do
    assert (folder / "min-p.json").read_text(encoding="utf-8") == first

    files = (folder / "min-p.json", folder / "edt.json")
    code, out, _ = tidal("evaluate", "--agent", *files, "--model", model, "--episodes", 2)
    assert code == 0


def test_static_gates_are_tuned_and_evaluated(tidal, model: str, tmp_path: Path) -> None:
    folder = tmp_path / "tuning"
    budget = ("--env_steps", 2500, "--num_envs", 16, "--env.max_episode_steps", 3)
    code, out, err = tidal("tune", "--model", model, "--output", folder, *budget, "--decoder", "static")
    assert code == 0 and "static" in out and "creativity" in out, err
    found = json.loads((folder / "static.json").read_text(encoding="utf-8"))
    assert found["parameters"].keys() == {"creativity", "focus", "stability"}
    assert 2000 < found["env_steps"] < 2500 + 48
    code, out, err = tidal("evaluate", "--agent", folder / "static.json", "--model", model, "--episodes", 2)
    assert code == 0 and "static.json" in out, err


def test_unknown_methods_leave_nothing_behind(tidal, model: str, tmp_path: Path) -> None:
    code, _, err = tidal("tune", "--model", model, "--output", tmp_path / "tuning", "--decoder", "nobody")
    assert code == 2 and "`decoder` must be one of static, temperature" in err
    assert not (tmp_path / "tuning").exists()


def test_a_damaged_result_is_named(tidal, model: str, tmp_path: Path) -> None:
    arguments = ("tune", "--model", model, "--output", tmp_path, *SHORT, "--decoder", "min-p")
    assert tidal(*arguments).code == 0
    (tmp_path / "min-p.json").write_text("", encoding="utf-8")
    code, _, err = tidal(*arguments, "--resume")
    assert code == 2 and "min-p.json cannot be read" in err


def test_a_result_without_its_return_is_named(tidal, model: str, tmp_path: Path) -> None:
    arguments = ("tune", "--model", model, "--output", tmp_path, *SHORT, "--decoder", "min-p")
    assert tidal(*arguments).code == 0
    path = tmp_path / "min-p.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["mean_return"]
    path.write_text(json.dumps(content), encoding="utf-8")
    code, _, err = tidal(*arguments, "--resume")
    assert code == 2 and "min-p.json is damaged: it lacks `mean_return`." in err


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**32])
def test_any_seed_or_a_sentence(tidal, model: str, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "tuning"
    code, _, err = tidal("tune", "--model", model, "--output", folder, *SHORT, "--decoder", "min-p", "--seed", seed)
    is_seed = 0 <= seed < 2**32
    assert code == (0 if is_seed else 2) and folder.exists() == is_seed
    assert ("`seed` must be at least 0 and at most 4294967295" in err) == (not is_seed)


@pytest.mark.parametrize("steps", [0, 10])
def test_too_few_steps(tidal, model: str, tmp_path: Path, steps: int) -> None:
    code, _, err = tidal("tune", "--model", model, "--output", tmp_path / "tuning", "--env_steps", steps)
    assert code == 2 and "`env_steps` must be at least" in err
    assert not (tmp_path / "tuning").exists()
