"""Ways to earn without writing well do not pay: tempering, repeating, looping and noise, on the bundled model."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.model_names import bundled_models
from tidal_gym.dynamics.sampling_distribution import SamplingDistribution
from tidal_gym.envs.vector_env import TidalGatingVectorEnv

pytestmark = pytest.mark.skipif("tidal-tiny" not in bundled_models(), reason="the bundled model is not in the checkout")

ROWS, STEPS = 8, 40
NEUTRAL = (0.5, 0.0, 0.0)

Policy = Callable[["object", int, torch.Generator], tuple[SamplingDistribution, Tensor]]
"""From a generation, a step and a generator to the distribution that it samples from, and the tokens (N,) drawn."""


def certain(tokens: Tensor) -> tuple[SamplingDistribution, Tensor]:
    """Whoever is sure of a token samples it with probability 1."""
    one = torch.ones(len(tokens), 1)
    return SamplingDistribution(tokens[:, None], one, torch.zeros(len(tokens))), tokens


def drawn(q: SamplingDistribution, generator: torch.Generator) -> tuple[SamplingDistribution, Tensor]:
    return q, q.tokens.gather(1, torch.multinomial(q.probs, 1, generator=generator)).squeeze(1)


def neutral(generation, step, generator):
    return drawn(generation.propose(torch.tensor([NEUTRAL]).expand(ROWS, -1))[0], generator)


def constant(generation, step, generator):
    return certain(generation.history.newest.clone())


def greedy(generation, step, generator):
    return certain(generation.streams.latest.logits.argmax(dim=1))


def greedy_loop(generation, step, generator):
    """The model's own four best tokens, again and again."""
    history = generation.history
    if step < 4:
        return greedy(generation, step, generator)
    return certain(history.tokens.gather(1, history.lengths[:, None] - 4).squeeze(1))


def noise(generation, step, generator):
    vocab_size = generation.streams.latest.logits.shape[1]
    tokens = torch.arange(vocab_size).expand(ROWS, -1)
    probs = torch.full((ROWS, vocab_size), 1 / vocab_size)
    return drawn(SamplingDistribution(tokens, probs, torch.full((ROWS,), math.log(vocab_size))), generator)


def mean_return(policy: Policy, reward: str) -> float:
    """Of episodes of STEPS tokens; the end of text is a token as any other."""
    env = TidalGatingVectorEnv(ROWS, reward=reward, dtype="float32", max_episode_steps=STEPS)
    env.reset(seed=0)
    generation, generator, total = env._generation, torch.Generator().manual_seed(0), 0.0
    gates = torch.tensor([NEUTRAL]).expand(ROWS, -1)
    with torch.inference_mode():
        for step in range(STEPS):
            q, tokens = policy(generation, step, generator)
            outcome = generation.outcome(tokens[:, None], q, env._scoring.judged)
            total += float(env._scoring.reward(outcome).total.mean())
            generation.accept(gates, outcome)
            env._scoring.read(outcome.tokens[:, 0])
            generation.observe()
    return total


JUDGED = pytest.param(
    "judge", marks=pytest.mark.skipif("tidal-judge" not in bundled_models(), reason="the judge is not in the checkout")
)


@pytest.mark.parametrize("reward", ["tidal", JUDGED])
def test_repetition_loops_and_noise_score_below_neutral_sampling(reward):
    fair = mean_return(neutral, reward)
    returns = {policy.__name__: mean_return(policy, reward) for policy in (constant, greedy, greedy_loop, noise)}
    assert all(earned < fair for earned in returns.values()), (fair, returns)


@pytest.mark.parametrize("gates", [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.9, 1.0, 0.0), (0.2, 0.3, 1.0)])
def test_the_same_tokens_score_the_same_whatever_the_gates(gates):
    """What is scored with p, a text's perplexity, repetition and coherence, does not see how q was tempered."""
    text = torch.randint(0, 4096, (10, ROWS), generator=torch.Generator().manual_seed(1))
    assert_allclose = np.testing.assert_allclose
    (fair, fair_diversity), (other, diversity) = (forced(text, action) for action in ((0.5, 0.0, 0.0), gates))
    for name in ("perplexity", "repetition", "coherence"):
        assert_allclose(other[name], fair[name], atol=1e-12)
    assert np.abs(diversity - fair_diversity).max() > 0.01, "the gates did something"


def forced(text: Tensor, action: tuple[float, ...]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The terms (T, N) of a given text (T, N), each token sampled under the gates of the action; diversity apart."""
    env = TidalGatingVectorEnv(ROWS, dtype="float64", max_episode_steps=STEPS)
    env.reset(seed=0)
    generation, gates, steps = env._generation, torch.tensor([action]).double().expand(ROWS, -1), []
    with torch.inference_mode():
        for tokens in text:
            q, _ = generation.propose(gates)
            outcome = generation.outcome(tokens[:, None], q, env._scoring.judged)
            steps.append(env._scoring.reward(outcome).terms)
            generation.accept(gates, outcome)
            env._scoring.read(outcome.tokens[:, 0])
            generation.observe()
    terms = {name: np.array([step[name][:, 0].numpy() for step in steps]) for name in steps[0]}
    return terms, terms["diversity"]


def test_no_gate_moves_the_judge(make_env, gated_folder, endless_folder):
    """P is of the text alone: whatever the gates were, the judge says the same of the same tokens."""
    text = torch.randint(0, 300, (10, 4), generator=torch.Generator().manual_seed(1))
    judged = []
    for action in ((0.5, 0.0, 0.0), (1.0, 1.0, 1.0)):
        env = make_env(4, reward="judge", judge=endless_folder, dtype="float64")
        env.reset(seed=0)
        generation, gates = env._generation, torch.tensor([action]).double().expand(4, -1)
        with torch.inference_mode():
            for tokens in text:
                outcome = generation.outcome(tokens[:, None], generation.propose(gates)[0], env._scoring.judged)
                generation.accept(gates, outcome)
                env._scoring.read(tokens)
                generation.observe()
        judged.append(env._scoring.judged)
    torch.testing.assert_close(*judged, rtol=0, atol=1e-12)
