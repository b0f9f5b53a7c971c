"""Costs by hand, in the environment, and costs of one's own."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch

from lm.errors import InvalidValueError
from lm.models.reference_statistics import ReferenceStatistics
from tests.tidal_gym.conftest import OPENINGS
from tidal_gym.dynamics.sampling_distribution import SamplingDistribution
from tidal_gym.rewards.costs import make_cost, register_cost
from tidal_gym.rewards.rewards import Outcome, RewardReference

OUTCOME = Outcome(
    tokens=torch.tensor([[1, 2, 0]]),
    log_prob=torch.zeros(1, 3, dtype=torch.float64),
    sampling=SamplingDistribution(tokens=None, probs=None, entropy=torch.tensor([1.0], dtype=torch.float64)),
    newest=torch.tensor([2]),
    recent=torch.tensor([[-1] * 7 + [3, 0, 2]]),
    text=torch.tensor([[3, 0, 2]]),
    lengths=torch.tensor([3]),
)


@pytest.fixture
def reference() -> RewardReference:
    statistics = ReferenceStatistics.from_tokens(np.array([0, 1, 0, 2]), 4, human_entropy=2.0)
    return RewardReference(statistics, 4, entropy_target=2.0)


def test_diversity_floor_by_hand(reference):
    # One standard deviation below the target, whatever is drawn.
    cost = make_cost("diversity_floor", reference, None)(OUTCOME)
    assert cost[0].tolist() == pytest.approx([0.55 - math.exp(-0.5)] * 3)
    assert make_cost("diversity_floor", reference, 1.0)(OUTCOME)[0, 0] == pytest.approx(1 - math.exp(-0.5))


def test_repetition_ceiling_by_hand(reference):
    # New; once before and the newest; once before.
    cost = make_cost("repetition_ceiling", reference, None)(OUTCOME)
    assert cost[0].tolist() == pytest.approx([-0.02, 0.55 - 0.02, 0.25 - 0.02])
    assert make_cost("repetition_ceiling", reference, 0.5)(OUTCOME)[0].tolist() == pytest.approx([-0.5, 0.05, -0.25])


@pytest.mark.parametrize(
    ("cost", "term", "offset"), [("diversity_floor", "diversity", 0.3), ("repetition_ceiling", "repetition", -0.3)]
)
def test_every_step_has_its_cost_and_the_reward_it_would_have(make_env, cost, term, offset):
    env = make_env(cost=cost, cost_bound=0.3, autoreset_mode="SameStep")
    env.reset(seed=0)
    plain = make_env(autoreset_mode="SameStep")
    plain.reset(seed=0)
    costs = []
    for _ in range(30):
        _, rewards, _, _, infos = env.step(np.tile(env.neutral_action, (4, 1)))
        np.testing.assert_array_equal(rewards, plain.step(np.tile(env.neutral_action, (4, 1)))[1])
        final = infos.get("final_info", {"_cost": np.zeros(4, bool)})
        assert (infos["_cost"] ^ final["_cost"]).all()
        for info in (infos, final):
            rows = info["_cost"]
            expected = offset - info.get(f"reward_{term}", np.zeros(4))[rows]
            np.testing.assert_allclose(info.get("cost", np.zeros(4))[rows], expected, atol=1e-6)
            costs += expected.tolist()
    assert len(costs) == 120 and np.std(costs) > 0.01


def test_scalar_environment_and_no_cost(gated_folder):
    settings = {"model": gated_folder, "prompts": list(OPENINGS)}
    env = gymnasium.make("TidalGating-v0", cost="diversity_floor", **settings)
    env.reset(seed=0)
    info = env.step(env.unwrapped.neutral_action)[4]
    assert info["cost"] == pytest.approx(0.55 - info["reward_diversity"])
    plain = gymnasium.make("TidalGating-v0", **settings)
    plain.reset(seed=0)
    assert "cost" not in plain.step(env.unwrapped.neutral_action)[4]


def test_a_registered_cost(make_env):
    @register_cost("surprise")
    def surprise(reference, bound):
        return lambda outcome: -outcome.log_prob - (bound or 0.0)

    env = make_env(cost="surprise", cost_bound=5.0)
    env.reset(seed=0)
    infos = env.step(np.tile(env.neutral_action, (4, 1)))[4]
    np.testing.assert_allclose(infos["cost"], -infos["log_prob"] - 5.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cost": "diversty"}, "`cost` must be None or one of diversity_floor, repetition_ceiling.*'diversty'"),
        ({"cost_bound": 0.5}, "`cost_bound` must be None without a `cost`. Received 0.5"),
        ({"cost": "diversity_floor", "cost_bound": 1.5}, r"`cost_bound` must be in \[0, 1\]. Received 1.5"),
        ({"cost": "repetition_ceiling", "cost_bound": float("nan")}, "`cost_bound` must be a finite number"),
    ],
)
def test_bad_arguments_are_named(make_env, arguments, message):
    with pytest.raises(InvalidValueError, match=message):
        make_env(**arguments)
