"""Gate effects, the sampling distribution, the selection of the top k, and actions that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from lm.errors import InvalidValueError
from lm.settings import settings_from
from tidal_gym.dynamics.modulation import GateEffects, ModulationConfig, gate_effects, modulate
from tidal_gym.dynamics.repetition_penalty import penalize
from tidal_gym.dynamics.sampling_distribution import draw


def effects(temperature: float = 1.0, penalty: float = 1.0) -> GateEffects:
    return GateEffects(torch.tensor([temperature]), torch.tensor([penalty]), torch.zeros(1))


def test_gate_effects_by_hand():
    gates = torch.tensor([[0.5, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.25, 0.4]])
    found = gate_effects(gates, ModulationConfig(base_temperature=0.8, base_penalty=1.2))
    torch.testing.assert_close(found.temperature, torch.tensor([0.8, 0.4, 1.2]))
    torch.testing.assert_close(found.penalty, torch.tensor([1.2, 3.0, 1.2 * 1.6]))
    torch.testing.assert_close(found.focus_bias, torch.tensor([0.0, 2.0, 0.5]))


def test_penalty_divides_positive_logits_and_multiplies_others():
    assert penalize(torch.tensor([3.0, -3.0, 0.0]), 1.5).tolist() == [2.0, -4.5, 0.0]


def test_modulate_by_hand():
    # Token 3 is repeated: 2 becomes 1. The top 3 of (0, 1, -1, 1, 4) are then 1, 3 and 4, halved by temperature 2.
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0, 4.0]])
    q = modulate(
        logits.clone(), effects(temperature=2.0, penalty=2.0), torch.tensor([[3, 3, 2]]), ModulationConfig(top_k=3)
    )
    weights = [math.exp(0.5), math.exp(0.5), math.exp(2.0)]
    probs = [weight / sum(weights) for weight in weights]
    assert q.tokens.tolist() == [[1, 3, 4]]
    assert q.probs[0].tolist() == pytest.approx(probs)
    assert q.entropy.item() == pytest.approx(-sum(p * math.log(p) for p in probs))
    assert logits.tolist() == [[0.0, 1.0, -1.0, 2.0, 4.0]]


def test_penalty_equals_transformers():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 50, generator=generator)
    text = torch.randint(0, 50, (3, 12), generator=generator)
    q = modulate(
        logits.clone(),
        GateEffects(torch.ones(3), torch.full((3,), 1.7), torch.zeros(3)),
        text,
        ModulationConfig(top_k=50),
    )
    expected = RepetitionPenaltyLogitsProcessor(1.7)(text, logits.clone()).softmax(dim=1)
    torch.testing.assert_close(q.probs, expected)


def test_top_p_comes_after_temperature_and_equals_transformers():
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    given = GateEffects(torch.full((4,), 0.7), torch.ones(4), torch.zeros(4))
    q = modulate(logits.clone(), given, torch.zeros(4, 1, dtype=torch.int64), ModulationConfig(top_k=20, top_p=0.8))
    expected = TopPLogitsWarper(0.8)(None, TopKLogitsWarper(20)(None, logits / 0.7)).softmax(dim=1)
    torch.testing.assert_close(torch.zeros_like(logits).scatter(1, q.tokens, q.probs), expected)
    kept = expected.clamp(min=1e-300)
    torch.testing.assert_close(q.entropy, -(expected * kept.log()).sum(dim=1))


def test_ruled_out_tokens_do_no_harm():
    logits = torch.tensor([[0.0, -torch.inf, 0.0, -torch.inf]])
    q = modulate(logits.clone(), effects(), torch.tensor([[0]]), ModulationConfig(top_k=40))
    assert q.entropy.item() == pytest.approx(math.log(2))
    assert draw(q, torch.tensor([0.999])).item() == 2


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 2), (0.24, 2), (0.26, 5), (0.74, 5), (0.76, 9), (0.9999, 9)])
def test_draw_is_the_inverse_cdf_in_the_order_of_the_vocabulary(uniform, token):
    logits = torch.full((1, 10), -torch.inf)
    logits[0, [2, 5, 9]] = torch.tensor([0.25, 0.5, 0.25]).log()
    assert (
        draw(
            modulate(logits.clone(), effects(), torch.tensor([[0]]), ModulationConfig(top_k=3)), torch.tensor([uniform])
        ).item()
        == token
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_p": 0.0}, r"`modulation\.top_p` must be in \(0, 1\]\. Received 0"),
        ({"top_k": 0}, r"`modulation\.top_k` must be at least 1\. Received 0"),
        ({"top_k": 2.5}, r"`modulation\.top_k` must be an integer"),
        ({"base_temperature": 0.0}, r"`modulation\.base_temperature` must be at least 0\.0001"),
        ({"base_penalty": 0.9}, r"`modulation\.base_penalty` must be at least 1"),
        ({"focus_strength": -1}, r"`modulation\.focus_strength` must be at least 0"),
        ({"focus_strength": float("inf")}, r"`modulation\.focus_strength` must be a finite number"),
        ({"temperature_range": [0.0, 1.0]}, r"`modulation\.temperature_range` must be at least 0\.0001"),
        ({"penalty_range": 2.0}, r"`modulation\.penalty_range` must be a list of 2, each a finite number"),
        ({"temperature": 1.0}, r"`modulation` may only have the keys base_temperature, .*'temperature'"),
    ],
)
def test_modulation_settings_have_rules(settings, message):
    with pytest.raises(InvalidValueError, match=message):
        settings_from(ModulationConfig, "modulation", settings)


def test_modulation_settings_from_json():
    config = settings_from(ModulationConfig, "modulation", {"temperature_range": [0.2, 2.0]})
    assert config.temperature_range == (0.2, 2.0)
    assert config.strongest_penalty == 2.5
    with pytest.raises(InvalidValueError, match="`modulation` must be a mapping"):
        settings_from(ModulationConfig, "modulation", 3)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (
            [[0, 0, 0], [0, np.nan, 0]],
            r"`actions` must be finite and lie in \[0, 1\]\. Received nan for focus in row 1",
        ),
        ([[0, 0, 1.5], [0, 0, 0]], r"Received 1\.5 for stability in row 0"),
        ([[-0.1, 0, 0], [0, 0, 0]], r"Received -0\.1 for creativity in row 0"),
        ([[0, 0, 0], [np.inf, 0, 0]], r"Received inf for creativity in row 1"),
        ([[0, 0, 0]], r"`actions` must have shape \(2, 3\)\. Received shape \(1, 3\)"),
        ([0.5, 0.0, 0.0], r"`actions` must have shape \(2, 3\)\. Received shape \(3,\)"),
        ([["a", 0, 0], [0, 0, 0]], r"`actions` must be numbers of shape"),
    ],
)
def test_bad_actions(make_env, actions, message):
    env = make_env(2)
    env.reset(seed=0)
    before = env.token_ids()
    with pytest.raises(InvalidValueError, match=message):
        env.step(actions)
    assert env.token_ids() == before
