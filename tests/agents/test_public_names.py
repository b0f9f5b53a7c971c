import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

import agents
from agents.episodes.env_config import EnvConfig


@pytest.mark.parametrize("name", agents.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(agents, name).__name__ == name
    assert name in dir(agents)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No agents attribute Oracle"):
        agents.Oracle  # noqa: B018


def test_import_is_light() -> None:
    code = (
        "import agents, sys; print([name for name in ('torch', 'numpy', 'stable_baselines3') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_env_config_comes_back_from_json_as_it_was() -> None:
    config = EnvConfig(prompt_tokens=(2, 4), modulation={"top_k": 5})
    assert EnvConfig(**asdict(config) | {"prompt_tokens": [2, 4]}) == config
