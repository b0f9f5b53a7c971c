"""Torch's default type changes nothing: rewards, observations, texts, trained weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.baselines.baselines import Fixed
from agents.baselines.decoders import decoder
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import run_episodes
from agents.generation.gated_generation import generate_tokens
from agents.policy.controller import Controller
from agents.training.config import ConstraintConfig, PPOConfig, TrainConfig, WarmStartConfig
from agents.training.run import train
from lm.data.control_code_config import ControlCodeConfig
from lm.models.bundle import load_model
from lm.models.config import ModelConfig
from lm.pretraining.config import DataConfig, PretrainConfig, TrainingConfig
from lm.pretraining.run import pretrain
from lm.rlm.config import ExamplesConfig, GrammarConfig, OptimizationConfig, RLMConfig
from lm.rlm.training import train_on_grammar

DEFAULTS = (torch.float32, torch.float16, torch.float64)


@pytest.fixture(autouse=True)
def default_dtype() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


def under_every_default(compute: Any) -> list[Any]:
    """What a function returns under each default; it is given the name of the default."""
    found = []
    for dtype in DEFAULTS:
        torch.set_default_dtype(dtype)
        found.append(compute(str(dtype).removeprefix("torch.")))
        assert torch.get_default_dtype() is dtype
    return found


def require_equal(found: Any) -> None:
    for other in found[1:]:
        assert found[0].keys() == other.keys()
        for name, values in found[0].items():
            np.testing.assert_array_equal(np.asarray(values), np.asarray(other[name]), err_msg=name)
            assert np.asarray(values).dtype == np.asarray(other[name]).dtype, name


@pytest.mark.parametrize(
    "changes",
    [{}, {"dtype": "float64"}, {"cost": "repetition_ceiling"}, {"reward": "tidal", "carl": {}}],
    ids=["float32", "float64", "cost", "carl"],
)
def test_env_steps(tiny_env: EnvConfig, changes: dict[str, Any]) -> None:
    gates = np.random.default_rng(0).random((8, 3, 3))

    def episodes(_: str) -> dict[str, Any]:
        env = replace(tiny_env, **changes).make(3, **({} if "carl" in changes else {"expected_reward": True}))
        observations, _ = env.reset(seed=1)
        seen: dict[str, Any] = {"first": observations}
        for step, actions in enumerate(gates):
            observations, rewards, terminations, truncations, infos = env.step(actions)
            seen |= {f"{step} observations": observations, f"{step} rewards": rewards}
            seen |= {f"{step} ended": terminations | truncations}
            seen |= {f"{step} {name}": value for name, value in infos.items() if np.asarray(value).dtype.kind in "fi"}
        env.close()
        return seen

    require_equal(under_every_default(episodes))


@pytest.mark.parametrize("changes", [{}, {"dtype": "float64"}], ids=["float32", "float64"])
def test_loading_a_model(tiny_env: EnvConfig, tmp_path: Path, changes: dict[str, Any]) -> None:
    def first_observations(name: str) -> dict[str, Any]:
        copied = shutil.copytree(tiny_env.model, tmp_path / name)  # a folder that has not been loaded
        env = replace(tiny_env, model=str(copied), **changes).make(2)
        observations, _ = env.reset(seed=1)
        return {"observations": observations, "rewards": env.step(np.full((2, 3), 0.3))[1]}

    require_equal(under_every_default(first_observations))


@pytest.mark.parametrize("name", ["fixed", "min-p", "mirostat", "edt", "adapt", "top-n-sigma"])
def test_texts(tiny_env: EnvConfig, name: str) -> None:
    def text(_: str) -> dict[str, Any]:
        if name == "fixed":
            tokens = list(generate_tokens(Fixed((0.2, 0.8, 0.4)), tiny_env, "Once upon", max_tokens=6, seed=3))
            return {"text": [token.text for token in tokens], "entropies": [token.entropy for token in tokens]}
        vector_env = tiny_env.make(4)
        found = run_episodes(decoder(name), vector_env, [1, 2, 3, 4])
        return {"tokens": found.tokens, "returns": found.returns}

    require_equal(under_every_default(text))


TINY_PPO = PPOConfig(num_envs=4, rollout_steps=4, batch_size=8, epochs=1, hidden_sizes=(8,))


@pytest.mark.parametrize("kind", ["ppo", "gaussian", "warm start", "look ahead", "constraint"])
def test_an_update_of_ppo(tiny_env: EnvConfig, tmp_path: Path, kind: str) -> None:
    ppo, env, warm_start = TINY_PPO, tiny_env, WarmStartConfig()
    if kind == "gaussian":
        ppo = replace(ppo, policy="gaussian")
    if kind in ("warm start", "look ahead"):
        warm_start = WarmStartConfig(env_steps=16, candidates=2, rollout_steps=4, gradient_steps=2, batch_size=4,
            look_ahead=kind == "look ahead")  # fmt: skip
    if kind == "constraint":
        ppo, env = replace(ppo, constraint=ConstraintConfig()), replace(env, cost="repetition_ceiling")
    config = TrainConfig(env=env, ppo=ppo, total_steps=32, warm_start=warm_start)

    def weights(name: str) -> dict[str, Any]:
        train(config, tmp_path / name)
        controller = Controller.load(tmp_path / name)  # as another program would
        observations = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
        state = {key: value.numpy() for key, value in controller.policy.state_dict().items()}
        return {**state, "gates": controller.act(observations)}

    require_equal(under_every_default(weights))


def test_a_step_of_pretraining(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n<|endoftext|>\n".join(f"Tom saw dog {number}. The dog ran away." for number in range(200)))
    config = PretrainConfig(
        model=ModelConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, context_length=16
        ),
        data=DataConfig(train=str(text), vocab_size=280, cache_dir=str(tmp_path / "cache")),
        training=TrainingConfig(max_steps=1, batch_size=4, precision="float32"),
        control_codes=ControlCodeConfig(segment_length=8),
    )

    def weights(name: str) -> dict[str, Any]:
        folder = pretrain(config, tmp_path / name).model_folder
        return {key: value.numpy() for key, value in load_model(str(folder)).state_dict().items()}

    require_equal(under_every_default(weights))


def test_a_step_on_a_grammar(tmp_path: Path) -> None:
    config = RLMConfig(
        grammar=GrammarConfig(vocab_size=6, depth=2, beta=2.0),
        examples=ExamplesConfig(task="next", test_size=20),
        model=ModelConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, gated=False
        ),
        training=OptimizationConfig(max_steps=1, batch_size=4, checkpoints=1),
    )

    def figures(name: str) -> dict[str, Any]:
        result = train_on_grammar(config, tmp_path / name)
        weights = {key: value.numpy() for key, value in load_model(str(result.model_folder)).state_dict().items()}
        return {**weights, "loss": result.best.test.loss, "optimum": result.floors.optimum}

    require_equal(under_every_default(figures))
