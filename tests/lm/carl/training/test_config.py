"""Rules of a run's configuration."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lm.carl.training.config import CarlDataConfig, CarlTrainConfig, FineTuningConfig, PolicyConfig
from lm.errors import InvalidValueError


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CarlTrainConfig(method="dpo"), "`method` must be one of sft, grpo, sft-then-grpo. Received 'dpo'."),
        (lambda: CarlTrainConfig(precision="float16"), "`precision` must be one of float32, bfloat16"),
        (lambda: CarlTrainConfig(device="tpu"), "`device` must be one of auto, cpu"),
        (lambda: CarlTrainConfig(save_every=0), "`save_every` must be at least 1. Received 0."),
        (lambda: CarlTrainConfig(seed=-1), "`seed` must be at least 0 and at most 4294967295. Received -1."),
        (lambda: CarlDataConfig(prompt_tokens=0), "`data.prompt_tokens` must be at least 1. Received 0."),
        (lambda: FineTuningConfig(max_length=1), "`sft.max_length` must be at least 2. Received 1."),
        (lambda: PolicyConfig(num_generations=1), "`grpo.num_generations` must be at least 2. Received 1."),
        (lambda: PolicyConfig(learning_rate=0.0), "`grpo.learning_rate` must be above 0 and at most 1000. "),
        (lambda: PolicyConfig(scale_rewards="row"), "`grpo.scale_rewards` must be one of group, batch, none"),
        (
            lambda: CarlTrainConfig(grpo=PolicyConfig(carl_weight=0.0)),
            "`grpo.carl_weight` must be above 0 without a task reward",
        ),
    ],
)
def test_broken_rules(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        make()


def test_methods() -> None:
    has = {m: (CarlTrainConfig(m).has_sft, CarlTrainConfig(m).has_grpo) for m in ("sft", "grpo", "sft-then-grpo")}
    assert has == {"sft": (True, False), "grpo": (False, True), "sft-then-grpo": (True, True)}
