"""Φ and the three scores: published values, values by hand, and a slow version."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lm.carl import (
    DEFECT_THRESHOLD,
    KAPPA,
    KAPPA_SIGMA,
    SIGMA,
    carl_reward,
    cloud_quality,
    compute_phi,
    discontinuity_score,
    field as field_module,
    multiscale_coherence,
    t_star,
    token_field,
)
from lm.errors import InvalidValueError

CASES = json.loads((Path(__file__).parent / "reference.json").read_text(encoding="utf-8"))["cases"]
COMPONENTS = ("multiscale", "cloud_quality", "discontinuity", "phi_mean", "phi_std", "entropy_mean")


def inputs_of(case: dict) -> tuple[np.ndarray, np.ndarray]:
    """By the recipe in reference.json."""
    rng = np.random.default_rng(case["seed"])
    logits = rng.normal(size=(case["T"], case["V"])) * case["scale"]
    if case["drift"]:
        logits *= 1 + case["drift"] * 4 * np.arange(case["T"])[:, None] / case["T"]
    ids = rng.integers(0, case["V"], size=case["T"])
    is_best = rng.random(case["T"]) < 0.5
    ids[is_best] = logits.argmax(-1)[is_best]
    return logits, ids


def slow_scores(phi: list[float], probability: list[float]) -> dict[str, float]:
    """The published loops over one sequence."""
    weighted = total = 0.0
    for scale in range(16):
        size = 1 << scale
        if size > len(phi):
            break
        blocks = [phi[start : start + size] for start in range(0, len(phi) - size + 1, size)]
        spreads = [float(np.std(block)) for block in blocks]
        weighted += 2 ** (scale / 2) * min(1.0, max(0.0, 1.0 - sum(spreads) / len(spreads)))
        total += 2 ** (scale / 2)
    worths = []
    for before, after in pairwise(phi):
        if after - before > 0.03:
            worths.append(0.8 if before < 0.5 else 0.3)
        elif after - before < -0.03:
            worths.append(0.2 if before > 0.7 else 0.5)
    return {
        "multiscale": weighted / total if len(phi) > 1 else 0.5,
        "cloud_quality": sum(a * b for a, b in zip(phi, probability, strict=True)) / len(phi),
        "discontinuity": sum(worths) / len(worths) if worths else 0.5,
    }


# Published values


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['T']}x{case['V']}")
def test_published_values(case: dict) -> None:
    logits, ids = inputs_of(case)
    reward, components = carl_reward(logits, ids, alignment="paired")
    assert isinstance(reward, float) and list(components) == list(COMPONENTS)
    assert reward == pytest.approx(case["reward"], abs=1e-9)
    for name in COMPONENTS:
        assert components[name] == pytest.approx(case[name], abs=1e-9), name


@pytest.mark.parametrize("case", CASES[:7], ids=lambda case: f"{case['T']}x{case['V']}")
def test_float32_is_close(case: dict) -> None:
    logits, ids = inputs_of(case)
    reward, _ = carl_reward(logits.astype(np.float32), ids, alignment="paired")
    assert reward == pytest.approx(case["reward"], abs=2e-6)


def test_constants() -> None:
    assert (KAPPA, SIGMA, KAPPA_SIGMA, DEFECT_THRESHOLD) == (64 / 3, 0.1875, 4.0, 0.03)
    assert pytest.approx(KAPPA_SIGMA) == KAPPA * SIGMA
    assert [t_star(d) for d in (384, 768, 3072, 1)] == [8192, 16384, 65536, 21]
    with pytest.raises(InvalidValueError, match="`dimension` must be at least 1. Received 0."):
        t_star(0)


# By hand


def test_phi_by_hand() -> None:
    """p = 1/2, 1/2, 0, 0 of four words: H = log 2, half of log 4. Uniform is 0, certain is 1."""
    logits = np.array([[0.0, 0.0, -np.inf, -np.inf], [1.0, 1.0, 1.0, 1.0], [0.0, 800.0, 0.0, 0.0]])
    for dtype in (np.float64, np.float32):
        phi, entropy = compute_phi(logits.astype(dtype))
        np.testing.assert_allclose(phi, [0.5, 0.0, 1.0], atol=1e-6)
        np.testing.assert_allclose(entropy, [math.log(2), math.log(4), 0.0], atol=1e-6)


def test_multiscale_by_hand() -> None:
    """Φ = 0, 0.4, 0.2, 0.2: spreads of pairs 0.2 and 0, of the whole √0.02."""
    scores = (1.0, 1 - 0.1, 1 - math.sqrt(0.02))
    expected = (scores[0] + math.sqrt(2) * scores[1] + 2 * scores[2]) / (3 + math.sqrt(2))
    assert multiscale_coherence(np.array([0.0, 0.4, 0.2, 0.2])) == pytest.approx(expected, abs=1e-12)
    assert multiscale_coherence(np.array([0.3])) == 0.5


def test_discontinuity_by_hand() -> None:
    """From 0.4 up: 0.8. From 0.6 up: 0.3. From 0.9 down: 0.2. From 0.5 down: 0.5. A change of 0.02 is none."""
    phi = np.array([0.4, 0.6, 0.9, 0.5, 0.3, 0.32])
    assert discontinuity_score(phi) == pytest.approx((0.8 + 0.3 + 0.2 + 0.5) / 4)
    assert discontinuity_score(np.array([0.5, 0.52, 0.51])) == 0.5


def test_cloud_by_hand() -> None:
    assert cloud_quality(np.array([0.5, 1.0]), np.array([0.4, 0.1])) == pytest.approx(0.15)


def test_shifted_scores_a_token_with_the_logits_before_it() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]]))
    field = token_field(logits, np.array([1, 0, 2]))
    assert field.lengths.tolist() == [2]
    np.testing.assert_allclose(field.log_prob[0, :2].exp(), [0.7, 0.8])
    paired = token_field(logits, np.array([1, 0, 2]), alignment="paired")
    np.testing.assert_allclose(paired.log_prob[0].exp(), [0.2, 0.1, 0.4])


# Against the slow version


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40),
    st.integers(0, 2**32 - 1),
)
def test_slow_version(phi: list[float], seed: int) -> None:
    probability = np.random.default_rng(seed).random(len(phi)).tolist()
    expected = slow_scores(phi, probability)
    assert multiscale_coherence(np.array(phi)) == pytest.approx(expected["multiscale"], abs=1e-12)
    assert cloud_quality(np.array(phi), np.array(probability)) == pytest.approx(expected["cloud_quality"], abs=1e-12)
    assert discontinuity_score(np.array(phi)) == pytest.approx(expected["discontinuity"], abs=1e-12)


# Batches


def random_batch(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 33, 80, generator=generator, dtype=dtype) * 3
    lengths = torch.tensor([33, 1, 2, 17, 32, 8])
    return logits, torch.randint(80, (6, 33), generator=generator), torch.arange(33) < lengths[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_equals_single(dtype: torch.dtype) -> None:
    logits, ids, mask = random_batch(dtype)
    rewards, components = carl_reward(logits, ids, mask=mask, alignment="paired")
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        alone, parts = carl_reward(logits[row, :length].numpy(), ids[row, :length].numpy(), alignment="paired")
        assert rewards[row].item() == pytest.approx(alone, abs=1e-6 if dtype == torch.float32 else 1e-12)
        for name, value in parts.items():
            assert components[name][row].item() == pytest.approx(value, abs=1e-5), name


def test_what_is_masked_may_be_anything() -> None:
    logits, ids, mask = random_batch()
    expected, _ = carl_reward(logits, ids, mask=mask, alignment="paired")
    spoiled, spoiled_ids = logits.clone(), ids.clone()
    spoiled[~mask] = torch.nan
    spoiled_ids[~mask] = -100
    rewards, _ = carl_reward(spoiled, spoiled_ids, mask=mask, alignment="paired")
    assert torch.equal(rewards, expected)


def test_padding_on_the_left_is_as_good() -> None:
    logits, ids, _ = random_batch()
    mask = torch.arange(33) >= 9
    ours, _ = carl_reward(logits, ids, mask=mask.expand(6, -1), alignment="paired")
    alone, _ = carl_reward(logits[:, 9:], ids[:, 9:], alignment="paired")
    torch.testing.assert_close(ours, alone, atol=1e-9, rtol=0)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, ids, mask = random_batch()
    whole = token_field(logits, ids, mask=mask.roll(1, 1))
    monkeypatch.setitem(field_module._BLOCK_ELEMENTS, "cpu", 7 * 80)
    for ours, theirs in zip(token_field(logits, ids, mask=mask.roll(1, 1)), whole, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_words_that_are_ruled_out_and_words_that_are_next_to_impossible() -> None:
    """The fast way cannot do these; the slow one is taken for their rows."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(1, 4, 50, generator=generator, dtype=torch.float64)
    logits[0, 1, 10:] = -torch.inf
    logits[0, 2, 0] = -300.0
    ids = torch.zeros(1, 4, dtype=torch.int64)
    exact, fast = (token_field(values, ids, alignment="paired") for values in (logits, logits.float()))
    torch.testing.assert_close(fast.entropy, exact.entropy, atol=1e-5, rtol=0)
    torch.testing.assert_close(fast.log_prob, exact.log_prob, atol=1e-4, rtol=0)
    assert exact.log_prob[0, 2] < -290


def test_half_precision() -> None:
    logits, ids, mask = random_batch()
    ours, _ = carl_reward(logits.bfloat16(), ids, mask=mask, alignment="paired")
    theirs, _ = carl_reward(logits.bfloat16().float(), ids, mask=mask, alignment="paired")
    assert torch.equal(ours, theirs)


# Bad input


@pytest.mark.parametrize(
    ("logits", "ids", "says"),
    [
        (
            np.zeros((2, 3)) * np.nan,
            [0, 0],
            "`logits` must not hold NaN or infinity. Received NaN in row 0 at token 0.",
        ),
        (np.full((2, 3), np.inf), [0, 0], "`logits` must not hold NaN or infinity"),
        (np.zeros(3), [0], r"`logits` must have the shape \(T, V\) or \(B, T, V\). Received \(3,\)."),
        (np.zeros((1, 1, 2, 3)), [0], r"Received \(1, 1, 2, 3\)."),
        (np.zeros((2, 1)), [0, 0], "`logits` must be over a vocabulary of at least two words. Received 1."),
        (np.zeros((2, 3), int), [0, 0], "`logits` must be floating-point numbers. Received torch.int64."),
        (np.zeros((2, 3)), [0, 3], "`token_ids` must lie in the vocabulary, 0 to 2. Received 3."),
        (np.zeros((2, 3)), [-1, 0], "`token_ids` must lie in the vocabulary, 0 to 2. Received -1."),
        (np.zeros((2, 3)), [0], r"`token_ids` must have the shape \(2,\) of the logits. Received \(1,\)."),
        (np.zeros((2, 3)), [0.0, 1.0], "`token_ids` must be integers. Received torch.float64."),
        (np.zeros((0, 3)), np.zeros(0, int), r"`logits` must hold at least one prediction. Received \(0, 3\)."),
        (
            np.zeros((0, 2, 3)),
            np.zeros((0, 2), int),
            r"`logits` must hold at least one prediction. Received \(0, 2, 3\).",
        ),
        (np.array([[object()]]), [0], "`logits` must be an array of numbers. Received an array of object."),
    ],
)
def test_bad_input(logits: np.ndarray, ids: list, says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        carl_reward(logits, np.asarray(ids), alignment="paired")


def test_a_single_token_cannot_be_scored_shifted() -> None:
    with pytest.raises(
        InvalidValueError, match="`token_ids` must hold a token to score in every row. Received none in row"
    ):
        carl_reward(np.zeros((1, 3)), np.array([0]))


@pytest.mark.parametrize("name", ["alignment", "composite"])
def test_unknown_choices(name: str) -> None:
    with pytest.raises(InvalidValueError, match=f"`{name}` must be one of .*, .*. Received 'pared'."):
        carl_reward(np.zeros((2, 3)), np.array([0, 1]), **{name: "pared"})


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.zeros(3, bool), "`token_ids` must hold a token to score in every row. Received none in row"),
        (np.ones(2, bool), r"`mask` must have the shape \(3,\) of the logits. Received \(2,\)."),
        (np.full(3, np.nan), "`mask` must be booleans, or integers 0 and 1. Received torch.float64."),
    ],
)
def test_bad_masks(mask: np.ndarray, says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        carl_reward(np.zeros((3, 4)), np.array([0, 1, 2]), mask=mask)


def test_nan_in_phi_alone() -> None:
    with pytest.raises(InvalidValueError, match="`logits` must not hold NaN"):
        compute_phi(np.array([[0.0, np.nan]]))
    with pytest.raises(InvalidValueError, match="`phi` must have the shape"):
        multiscale_coherence(np.zeros((1, 2, 3)))
    with pytest.raises(InvalidValueError, match="`lengths` must hold a length from 1 to 3 for each of 2 rows"):
        multiscale_coherence(np.zeros((2, 3)), np.array([1, 4]))
