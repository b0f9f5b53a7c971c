"""Weights by the order of the previous batch."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from lm.carl import CarlWeights, PhaseAdaptiveWeights, carl_reward, kuramoto_order
from lm.carl.phases import PHASE_WEIGHTS, phase_of
from lm.errors import InvalidValueError


def test_order_by_hand() -> None:
    """Φ = 0 and 1 cancel; 0 and 1/2 are at right angles."""
    everything = torch.ones(1, 2, dtype=torch.bool)
    assert kuramoto_order(torch.tensor([[0.0, 1.0]]), everything) == pytest.approx(0.0, abs=1e-12)
    assert kuramoto_order(torch.tensor([[0.0, 0.5]]), everything) == pytest.approx(math.sqrt(0.5))
    assert kuramoto_order(torch.tensor([[0.3, 0.9]]), torch.tensor([[True, False]])) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("order", "phase", "weights"),
    [
        (0.0, "gaseous", (0.2, 0.3, 0.5)),
        (0.2999, "gaseous", (0.2, 0.3, 0.5)),
        (0.3, "liquid", (0.4, 0.3, 0.3)),
        (0.7, "crystalline", (0.6, 0.3, 0.1)),
    ],
)
def test_phases(order: float, phase: str, weights: tuple[float, ...]) -> None:
    assert phase_of(order) == phase
    assert PHASE_WEIGHTS[phase] == CarlWeights(*weights)


def test_a_batch_is_weighed_by_the_one_before() -> None:
    generator = np.random.default_rng(0)
    logits, ids = generator.normal(size=(3, 9, 20)), generator.integers(0, 20, (3, 9))
    adaptive = PhaseAdaptiveWeights()
    first, _ = carl_reward(logits, ids, alignment="paired", weights=adaptive)
    np.testing.assert_array_equal(first, carl_reward(logits, ids, alignment="paired")[0])
    assert adaptive.phase == "crystalline"  # all Φ are alike
    second, _ = carl_reward(logits, ids, alignment="paired", weights=pickle.loads(pickle.dumps(adaptive)))
    expected, _ = carl_reward(logits, ids, alignment="paired", weights=CarlWeights(0.6, 0.3, 0.1))
    np.testing.assert_array_equal(second, expected)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_weights_are_numbers(value: float) -> None:
    with pytest.raises(InvalidValueError, match="`weights.cloud_quality` must be (at least 0|a finite number)"):
        CarlWeights(cloud_quality=value)
