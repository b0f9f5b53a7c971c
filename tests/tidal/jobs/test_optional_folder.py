from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.episodes.env_config import EnvConfig
from lm.runs import read_record
from tidal.jobs.config import EvaluateConfig, GenerateConfig, ScoreConfig
from tidal.jobs.registry import Job


@pytest.mark.parametrize("kind", ["score", "generate", "evaluate"])
def test_a_job_has_the_same_figures_with_and_without_a_folder(kind: str, model: str, tmp_path: Path) -> None:
    configs: dict[str, Any] = {
        "score": ScoreConfig(text="Once upon a time", model=model),
        "generate": GenerateConfig("Once upon a time", model=model, max_tokens=3),
        "evaluate": EvaluateConfig(("neutral",), EnvConfig(max_episode_steps=3), model, episodes=2, num_envs=2),
    }
    without = Job(kind, configs[kind]).run()
    within = Job(kind, configs[kind], tmp_path / "run").run()
    assert not without.files and within.figures == without.figures
    (file,) = within.files.values()
    assert json.loads(file.read_text()) == json.loads(json.dumps(without.figures))
    record = read_record(tmp_path / "run")
    assert record is not None and (record.kind, record.state) == (kind, "completed")
