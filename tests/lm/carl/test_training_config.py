"""Rules of a run's configuration."""

from __future__ import annotations

import pytest

from lm.carl.training_config import CarlDataConfig, CarlTrainConfig, FineTuningConfig, PolicyConfig
from lm.errors import InvalidValueError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"method": "dpo"}, "`method` must be one of sft, grpo, sft-then-grpo. Received 'dpo'."),
        ({"precision": "float16"}, "`precision` must be one of float32, bfloat16"),
        ({"device": "tpu"}, "`device` must be one of auto, cpu"),
        ({"save_every": 0}, "`save_every` must be at least 1. Received 0."),
        ({"seed": -1}, "`seed` must be at least 0. Received -1."),
        ({"data": CarlDataConfig(prompt_tokens=0)}, "`data.prompt_tokens` must be at least 1. Received 0."),
        ({"sft": FineTuningConfig(max_length=1)}, "`sft.max_length` must be at least 2. Received 1."),
        ({"grpo": PolicyConfig(num_generations=1)}, "`grpo.num_generations` must be at least 2. Received 1."),
        ({"grpo": PolicyConfig(learning_rate=0.0)}, "`grpo.learning_rate` must be above 0 and finite. Received 0.0."),
        ({"grpo": PolicyConfig(scale_rewards="row")}, "`grpo.scale_rewards` must be one of group, batch, none"),
        ({"grpo": PolicyConfig(carl_weight=0.0)}, "`grpo.carl_weight` must be above 0 where there is no task"),
    ],
)
def test_broken_rules(arguments: dict, says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        CarlTrainConfig(**arguments)


def test_methods() -> None:
    has = {m: (CarlTrainConfig(m).has_sft, CarlTrainConfig(m).has_grpo) for m in ("sft", "grpo", "sft-then-grpo")}
    assert has == {"sft": (True, False), "grpo": (False, True), "sft-then-grpo": (True, True)}
