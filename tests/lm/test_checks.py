"""Rules for parameters: types by annotations, finite numbers, bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
import pytest

from lm import memory
from lm.checks import SEED, Bounds, above, at_least, check_fields, require_integer, require_number, require_one_of
from lm.errors import InvalidValueError
from lm.memory import require_memory


@dataclass(frozen=True)
class Recipe:
    steps: int = 1
    rate: float | None = 0.5
    name: str = "a"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.0, 1.0)
    kind: Literal["x", "y"] = "x"
    is_on: bool = False
    prompts: str | list[str] = "train"
    extra: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_fields(self, "recipe", steps=at_least(1), rate=above(0, 1), sizes=at_least(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "`recipe.steps` must be at least 1. Received 0."),
        ({"steps": 1.0}, "`recipe.steps` must be an integer. Received 1.0."),
        ({"steps": True}, "`recipe.steps` must be an integer. Received True."),
        ({"steps": "3"}, "`recipe.steps` must be an integer. Received '3'."),
        ({"steps": None}, "`recipe.steps` must be an integer. Received None."),
        ({"steps": math.nan}, "`recipe.steps` must be an integer. Received nan."),
        ({"steps": 2**63}, "`recipe.steps` must be at most 9223372036854775807. Received 9223372036854775808."),
        ({"rate": math.inf}, "`recipe.rate` must be a finite number or None. Received inf."),
        ({"rate": 10**400}, "`recipe.rate` must be a finite number or None. Received 1000"),
        ({"rate": True}, "`recipe.rate` must be a finite number or None. Received True."),
        ({"rate": 0}, "`recipe.rate` must be in (0, 1]. Received 0."),
        ({"name": ""}, "`recipe.name` must be a string that is not empty. Received ''."),
        ({"name": "a\0b"}, "`recipe.name` must be a string that is not empty"),
        ({"name": 3}, "`recipe.name` must be a string that is not empty. Received 3."),
        ({"sizes": [1, 0]}, "`recipe.sizes` must be at least 1. Received 0."),
        ({"sizes": 3}, "`recipe.sizes` must be a list, each member an integer. Received 3."),
        ({"pair": (1.0,)}, "`recipe.pair` must be a list of 2, each a finite number. Received (1.0,)."),
        ({"kind": "z"}, "`recipe.kind` must be one of x, y. Received 'z'."),
        ({"kind": ["x"]}, "`recipe.kind` must be one of x, y. Received ['x']."),
        ({"is_on": 1}, "`recipe.is_on` must be true or false. Received 1."),
        ({"prompts": [1]}, "`recipe.prompts` must be a string that is not empty or a list of strings. Received [1]."),
        ({"extra": [1]}, "`recipe.extra` must be a mapping of names or None. Received [1]."),
    ],
)
def test_fields_are_of_their_type_and_range(arguments, message):
    with pytest.raises(InvalidValueError) as raised:
        Recipe(**arguments)
    assert str(raised.value).startswith(message)


def test_numpy_numbers_and_lists_are_converted():
    recipe = Recipe(steps=np.int32(4), rate=np.float32(0.5), sizes=[np.int64(3)], pair=[0, 1], prompts=["", "b"])
    assert recipe == Recipe(4, 0.5, sizes=(3,), pair=(0, 1), prompts=["", "b"])
    assert (type(recipe.steps), type(recipe.rate), type(recipe.sizes[0])) == (int, float, int)
    assert Recipe(rate=None).rate is None


@pytest.mark.parametrize(
    ("bounds", "rule"),
    [
        (at_least(1), "must be at least 1"),
        (at_least(-1e6, 1e6), "must be at least -1e+06 and at most 1e+06"),
        (Bounds(most=3), "must be at most 3"),
        (Bounds(0, 1, is_open_above=True), "must be in [0, 1)"),
        (Bounds(0, 1, is_open_below=True, is_open_above=True), "must be in (0, 1)"),
    ],
)
def test_bounds_say_their_rule(bounds, rule):
    assert bounds.rule == rule


def test_single_values():
    assert require_integer("n", np.uint8(3)) == 3
    assert require_number("x", np.float16(0.5)) == 0.5
    assert require_one_of("name", "a", "ab") == "a"
    for bad in (-1, 2**32, 0.5, True, None, "1"):
        with pytest.raises(InvalidValueError, match="`seed` must be"):
            require_integer("seed", bad, SEED)
    for name in ("c", ["a"], None):
        with pytest.raises(InvalidValueError, match="`name` must be one of a, b. Received"):
            require_one_of("name", name, "ab")


def test_memory_is_free_or_the_size_is_refused(monkeypatch):
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Free", (), {"available": 5_000})())
    require_memory("rows", 50, "its table", lambda rows: 100 * rows)
    with pytest.raises(InvalidValueError) as raised:
        require_memory("rows", 10**12, "its table", lambda rows: 100 * rows)
    assert str(raised.value) == (
        "`rows` must be small enough for its table, which needs 100000.0 GB; 0.0 GB are free. Received 1000000000000. "
        "At most 50 fits."
    )


CONFIGURATIONS = (
    "agents.analysis.config:AnalysisConfig",
    "agents.episodes.env_config:EnvConfig",
    "agents.evaluation.text_measures_config:TextMeasuresConfig",
    "agents.training.config:ConstraintConfig",
    "agents.training.config:PPOConfig",
    "agents.training.config:TrainConfig",
    "agents.training.config:WarmStartConfig",
    "lm.carl.options:CarlWeights",
    "lm.carl.training.config:CarlDataConfig",
    "lm.carl.training.config:CarlTrainConfig",
    "lm.carl.training.config:FineTuningConfig",
    "lm.carl.training.config:PolicyConfig",
    "lm.data.control_code_config:ControlCodeConfig",
    "lm.pretraining.config:DataConfig",
    "lm.models.config:ModelConfig",
    "lm.pretraining.config:PretrainConfig",
    "lm.pretraining.config:TrainingConfig",
    "lm.rlm.config:ExamplesConfig",
    "lm.rlm.config:GrammarConfig",
    "lm.rlm.config:OptimizationConfig",
    "lm.rlm.config:RLMConfig",
    "lm.rlm.config:SweepConfig",
    "tidal.benchmark.config:BenchmarkConfig",
    "tidal.demo.config:DemoConfig",
    "tidal_gym.wrappers.carl_config:CarlRewardConfig",
    "tidal_gym.rewards.judge:JudgeWeights",
    "tidal_gym.dynamics.modulation:ModulationConfig",
    "tidal_gym.rewards.rewards:TidalWeights",
)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_field_of_every_configuration_is_checked(name):
    module, _, attribute = name.partition(":")
    kind = getattr(import_module(module), attribute)
    default = kind()
    for field in fields(kind):
        value = getattr(default, field.name)
        odd = [object(), math.nan, math.inf, {1: 2}, b"x", ""]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            odd += [True, "3", -(10**300), 10**300, -1e300, 1e300]
        if isinstance(value, int):
            odd += [1.5]
        if is_dataclass(value):
            odd += [3] if "None" in field.type else [3, None]
        for bad in odd:
            with pytest.raises(InvalidValueError, match=rf"{field.name.rstrip('s')}"):
                kind(**{field.name: bad})
