"""Reward terms by hand, weights, and rewards of one's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lm.errors import InvalidValueError
from lm.models.reference_statistics import ReferenceStatistics
from tidal_gym.dynamics.sampling_distribution import SamplingDistribution
from tidal_gym.rewards.rewards import (
    Outcome,
    RewardReference,
    RewardTerms,
    TidalReward,
    TidalWeights,
    coherence_term,
    diversity_term,
    make_reward,
    perplexity_term,
    register_reward,
    repetition_term,
)


def reference(entropy_target: float = 2.0) -> RewardReference:
    """V = 4; the text 0 1 0 1 0 2: bigrams 01 twice, 10 twice, 02 once; 0 occurs 3 times."""
    statistics = ReferenceStatistics.from_tokens(np.array([0, 1, 0, 1, 0, 2]), 4, human_entropy=2.0)
    return RewardReference(statistics, 4, entropy_target)


def test_perplexity_by_hand():
    # p = 1, 1/10, 1/100 and less: 0, half, whole, and clipped there.
    log_prob = torch.tensor([[1.0, 0.1, 0.01, 1e-9]], dtype=torch.float64).log()
    torch.testing.assert_close(perplexity_term(log_prob), torch.tensor([[0.0, -0.5, -1.0, -1.0]], dtype=torch.float64))


def test_diversity_by_hand():
    # One standard deviation is half the target: exp(-1/2) there, exp(-2) at zero entropy.
    entropy = torch.tensor([3.0, 4.5, 1.5, 0.0])
    expected = torch.tensor([1.0, math.exp(-0.5), math.exp(-0.5), math.exp(-2.0)])
    torch.testing.assert_close(diversity_term(entropy, 3.0), expected)


@pytest.mark.parametrize(
    ("occurrences", "is_newest", "expected"),
    [
        (0, False, 0.0),
        (1, False, -0.25),
        (2, False, -0.5),
        (3, False, -0.75),
        (4, False, -0.8),
        (7, False, -0.95),
        (9, False, -1.0),  # .75 + 6 × .05 = 1.05
        (1, True, -0.55),
        (2, True, -0.8),
        (3, True, -1.0),
    ],
)
def test_repetition_by_hand(occurrences, is_newest, expected):
    repeats, others = [7] * occurrences, [3] * (10 - occurrences)
    recent = others + repeats if is_newest else repeats + others
    term = repetition_term(torch.tensor([[7]]), torch.tensor([recent[-1]]), torch.tensor([recent]))
    assert term.item() == pytest.approx(expected)


def test_repetition_of_short_texts_counts_only_what_is_there():
    recent = torch.tensor([[-1] * 8 + [5, 6]])
    term = repetition_term(torch.tensor([[5, 6, 4]]), torch.tensor([6]), recent)
    torch.testing.assert_close(term, torch.tensor([[-0.25, -0.55, 0.0]], dtype=torch.float64))


def test_coherence_by_hand():
    # log 4 above log(1/4) is nothing, above log 1 everything; below chance it stays 0.
    log_prob = torch.tensor([[0.25, 0.5, 1.0, 0.1]], dtype=torch.float64).log()
    expected = torch.tensor([[0.0, 0.5, 1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(coherence_term(log_prob, 4), expected)


def test_total_by_hand():
    outcome = Outcome(
        tokens=torch.tensor([[1, 2]]),
        log_prob=torch.tensor([[0.1, 0.01]], dtype=torch.float64).log(),
        sampling=SamplingDistribution(tokens=None, probs=None, entropy=torch.tensor([2.0], dtype=torch.float64)),
        newest=torch.tensor([0]),
        recent=torch.tensor([[-1] * 7 + [2, 1, 0]]),
        text=torch.tensor([[2, 1, 0]]),
        lengths=torch.tensor([3]),
    )
    terms, total = TidalReward(reference())(outcome)
    # P(1|0) = (2 + 1)/(3 + 4), P(2|0) = (1 + 1)/(3 + 4), against chance 1/4.
    coherence = [math.log(4 * 3 / 7) / math.log(4), math.log(4 * 2 / 7) / math.log(4)]
    expected = {
        "perplexity": [-0.5, -1.0],
        "diversity": [1.0, 1.0],
        "repetition": [-0.25, -0.25],
        "coherence": coherence,
    }
    assert list(terms) == list(expected)
    for name, values in expected.items():
        assert terms[name][0].tolist() == pytest.approx(values, abs=1e-6), name
    assert total[0].tolist() == pytest.approx(
        [-0.2 + 0.3 - 0.05 + 0.1 * coherence[0], -0.4 + 0.3 - 0.05 + 0.1 * coherence[1]], abs=1e-6
    )


def test_weights_override_by_name():
    assert TidalReward(reference(), {"diversity": 0}).weights == TidalWeights(diversity=0)


def test_misspelt_weight(make_env):
    with pytest.raises(InvalidValueError, match=r"`reward_weights` may only have the keys .*'diversty'.*`diversity`\?"):
        make_env(reward_weights={"diversty": 1.0})


@pytest.mark.parametrize("weight", [float("nan"), "much", True, None])
def test_weights_are_finite_numbers(weight):
    with pytest.raises(InvalidValueError, match=r"`reward_weights\.coherence` must be a finite number"):
        TidalReward(reference(), {"coherence": weight})


def test_entropy_target_moves_the_diversity_term(make_env):
    plain, classic = make_env(), make_env(entropy_target=5.0)
    plain.reset(seed=0), classic.reset(seed=0)
    action = np.tile(plain.neutral_action, (4, 1))
    infos, classic_infos = plain.step(action)[4], classic.step(action)[4]
    for entropy, ours, theirs in zip(
        infos["entropy"], infos["reward_diversity"], classic_infos["reward_diversity"], strict=True
    ):
        assert ours == pytest.approx(math.exp(-0.5 * ((entropy - 3.0) / 1.5) ** 2), rel=1e-5)
        assert theirs == pytest.approx(math.exp(-0.5 * ((entropy - 5.0) / 2.5) ** 2), rel=1e-5)


@pytest.mark.parametrize("target", [0.0, -1.0])
def test_entropy_target_is_positive(make_env, target):
    with pytest.raises(InvalidValueError, match="`entropy_target` must be at least 0.001"):
        make_env(entropy_target=target)


def likely(reference: RewardReference, weights) -> object:
    """A reward of one term: log p."""
    scale = (weights or {}).get("scale", 1.0)

    def reward(outcome: Outcome) -> RewardTerms:
        return RewardTerms({"likelihood": outcome.log_prob}, scale * outcome.log_prob)

    return reward


def test_a_registered_reward(make_env):
    register_reward("likely")(likely)
    env = make_env(reward="likely", reward_weights={"scale": 2.0})
    env.reset(seed=0)
    _, rewards, _, _, infos = env.step(np.zeros((4, 3)))
    np.testing.assert_allclose(infos["reward_likelihood"], infos["log_prob"])
    np.testing.assert_allclose(rewards, 2 * infos["log_prob"])
    assert "reward_perplexity" not in infos
    assert (env.expected_rewards([[0.0, 0.0, 0.0]]) > env.expected_rewards([[1.0, 0.0, 0.0]])).all()


def test_a_reward_by_module_and_attribute():
    reward = make_reward("tidal_gym.rewards.rewards:TidalReward", reference(), {"coherence": 0.5})
    assert isinstance(reward, TidalReward) and reward.weights.coherence == 0.5


@pytest.mark.parametrize("name", ["tydal", "no.such.module:thing", "math:thing"])
def test_unknown_reward(name):
    with pytest.raises(InvalidValueError, match=r"`reward` must be one of .*tidal.*Received"):
        make_reward(name, reference(), None)
