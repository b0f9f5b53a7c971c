from dataclasses import asdict

from agents.episodes.env_config import EnvConfig


def test_env_config_comes_back_from_json_as_it_was() -> None:
    config = EnvConfig(prompt_tokens=(2, 4), modulation={"top_k": 5})
    assert EnvConfig(**asdict(config) | {"prompt_tokens": [2, 4]}) == config
