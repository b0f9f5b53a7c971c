"""Every preset loads into the dataclass that it configures, through the command that reads it."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from agents.training.config import PPOConfig, TrainConfig
from lm.carl.training.config import CarlTrainConfig
from lm.models.new_model import build_model
from lm.pretraining.config import PretrainConfig, TrainingConfig
from lm.rlm.config import ExamplesConfig, GrammarConfig, OptimizationConfig, RLMConfig
from tidal.benchmark.config import BenchmarkConfig
from tidal.cli.parsing import config_of

CONFIGS = Path(__file__).parents[1] / "configs"
COMMANDS = {
    "ppo": ("train", "make_parser", TrainConfig),
    "pretrain": ("pretrain", "make_parser", PretrainConfig),
    "carl": ("carl.train", "make_parser", CarlTrainConfig),
    "benchmark": ("benchmark", "make_parser", BenchmarkConfig),
    "rlm": ("rlm", "train_parser", RLMConfig),
}


def load(path: Path) -> TrainConfig | BenchmarkConfig | PretrainConfig | CarlTrainConfig | RLMConfig:
    command, make_parser, kind = COMMANDS[path.parent.name]
    parser: ArgumentParser = getattr(import_module(f"tidal.cli.commands.{command}"), make_parser)()
    return config_of(parser, parser.parse_args(["--config", str(path), "--output", "unused"]), kind)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_every_preset_loads(path: Path) -> None:
    config = load(path)
    for section, values in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        loaded = getattr(config, section)
        if isinstance(values, str) and values.endswith(".yaml"):
            recipe = load(path.parent / values)
            assert loaded.ppo == recipe.ppo and loaded.env == replace(recipe.env, reward=loaded.env.reward)
            continue
        if not isinstance(values, dict):
            assert (list(loaded) if isinstance(loaded, tuple) else loaded) == values
            continue
        for name, value in values.items():
            found = getattr(loaded, name)
            if is_dataclass(found):
                found = {key: getattr(found, key) for key in value}
            assert (list(found) if isinstance(found, tuple) else found) == value, f"{section}.{name}"


def test_all_presets_are_there() -> None:
    found = {path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml")}
    assert {"ppo/classic.yaml", "ppo/tidal-tiny.yaml"} <= found
    assert "ppo/diversity-floor.yaml" in found
    assert {
        "ppo/rlm-tiny.yaml",
        "rlm/classic.yaml",
        "rlm/best.yaml",
        "rlm/best-deep.yaml",
        "rlm/rlm-tiny.yaml",
    } <= found
    assert {"pretrain/smoke.yaml", "pretrain/tidal-30m.yaml", "pretrain/tidal-tiny.yaml"} <= found
    assert {"carl/smoke.yaml", "carl/gpu.yaml"} <= found


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_presets_override_defaults_only(path: Path) -> None:
    default = COMMANDS[path.parent.name][2]()
    for section, values in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        whole = getattr(default, section)
        for name, value in values.items() if isinstance(values, dict) else [(None, values)]:
            found = getattr(whole, name) if name else whole
            assert (list(found) if isinstance(found, tuple) else found) != value, f"{section}.{name}"


def test_the_default_asks_the_environment_for_nothing_special() -> None:
    """So that `tidal train` without a preset works with every reward."""
    assert TrainConfig().ppo.reward == "drawn" and TrainConfig().warm_start.env_steps == 0


def test_classic_values() -> None:
    config = load(CONFIGS / "ppo" / "classic.yaml")
    assert config.ppo == PPOConfig(
        num_envs=config.ppo.num_envs, rollout_steps=128, epochs=4, batch_size=32, learning_rate=3e-4,
        learning_rate_schedule="constant", gamma=0.99, gae_lambda=0.95, clip_range=0.2, entropy_coefficient=0.01,
        value_coefficient=0.5, max_gradient_norm=0.5, hidden_sizes=(128, 128),
    )  # fmt: skip
    assert config.total_steps == 100_000
    assert config.env.modulation == {"base_penalty": 1.2} and config.env.entropy_target == 5.0


class GPT2Tokenizer:
    """As much of GPT-2's tokenizer as the size of a model depends on."""

    bos_token_id = eos_token_id = pad_token_id = 50256

    def __len__(self) -> int:
        return 50257


def test_30m_has_its_size_and_its_hyperparameters() -> None:
    config = load(CONFIGS / "pretrain" / "tidal-30m.yaml")
    with torch.device("meta"):
        model = build_model(config.model, GPT2Tokenizer())
    assert abs(model.num_parameters() - 30.7e6) <= 0.1e6
    expected = TrainingConfig(
        epochs=12, batch_size=64, gradient_accumulation=32, learning_rate=1e-3, min_learning_rate=1e-6,
        warmup_ratio=0.1, patience=5, evaluate_every=config.training.evaluate_every,
    )  # fmt: skip
    assert config.training == expected
    assert (config.data.train, config.data.validation) == ("roneneldan/TinyStories", "split:validation")


def test_classic_grammar_model() -> None:
    config = load(CONFIGS / "rlm" / "classic.yaml")
    assert config.grammar == GrammarConfig(vocab_size=128, depth=1, beta=2.0)
    assert config.examples == ExamplesConfig(task="last")
    assert (config.model.num_hidden_layers, config.model.hidden_size, config.model.num_attention_heads) == (1, 64, 1)
    assert config.training == OptimizationConfig(
        max_steps=30_000, batch_size=64, optimizer="sgd", learning_rate=1e-3, momentum=0.9, schedule="cosine",
        warmup_steps=8, decay_steps=262_144,
    )  # fmt: skip


def test_best_takes_as_many_steps_as_classic() -> None:
    classic, best, deep = (load(CONFIGS / "rlm" / f"{name}.yaml") for name in ("classic", "best", "best-deep"))
    assert best.grammar == classic.grammar and best.examples == classic.examples
    assert best.training.max_steps == deep.training.max_steps == classic.training.max_steps
    assert (deep.grammar.vocab_size, deep.grammar.depth) == (64, 3)
