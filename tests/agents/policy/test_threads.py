"""One controller, one model and one decoding method in several threads give what they give in one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from agents.baselines.baselines import Random
from agents.baselines.decoders import decoder
from agents.episodes.env_config import EnvConfig
from agents.generation.gated_generation import GatedGeneration, generate_tokens
from agents.policy.controller import Controller, ControllerConfig, make_policy
from agents.policy.observation_statistics import ObservationNormalizer, RunningStatistics
from lm.models.bundle import load_bundle

THREADS = 4


@pytest.fixture
def controller():
    return random_controller("beta")


def random_controller(policy):
    torch.manual_seed(3)
    config = ControllerConfig(policy, (32, 32), 64, (0.0,) * 3, (1.0,) * 3, True, {}, {})
    made = make_policy(config)
    for parameter in made.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    statistics = RunningStatistics(np.full(64, 0.1), np.full(64, 2.0), 100.0)
    return Controller(config, made, ObservationNormalizer(statistics, 1e-8, 10.0), {})


def in_threads(work, items):
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


@pytest.mark.parametrize("policy", ["beta", "gaussian"])
def test_12_000_acts_of_one_controller(policy):
    controller = random_controller(policy)
    observations = np.random.default_rng(0).normal(size=(12_000, 1, 64)).astype(np.float32)
    expected = np.array([controller.act(one) for one in observations])
    assert np.array_equal(in_threads(controller.act, observations), expected)
    assert len(np.unique(expected[:, 0], axis=0)) > 1000


def one_by_one(work, items):
    return list(map(work, items))


def texts(agent, seeds, run):
    def text(seed):
        prompt = ("Once upon a time there was a cat", "The dog ran to the big house and")[seed % 2]
        tokens = generate_tokens(agent, EnvConfig(), prompt, max_tokens=12, seed=seed)
        return [(token.token_id, token.gates, token.log_prob) for token in tokens]

    return run(text, seeds)


def test_generations_of_one_controller(controller):
    assert texts(controller, range(30), in_threads) == texts(controller, range(30), one_by_one)


@pytest.mark.parametrize("agent", [Random(), decoder("mirostat"), decoder("edt")], ids=lambda agent: agent.name)
def test_generations_of_agents_with_a_state(agent):
    expected = [texts(agent, [seed], one_by_one)[0] for seed in range(12)]
    for found, right in zip(texts(agent, range(12), in_threads), expected, strict=True):
        assert np.array_equal(np.array([str(token) for token in found]), np.array([str(token) for token in right]))


def test_generate_with_one_decoding_method(controller):
    bundle = load_bundle()
    generation = GatedGeneration(controller, bundle.statistics.human_entropy)
    uniforms = torch.rand(30, 2, 16, generator=torch.Generator().manual_seed(1))

    def continued(number):
        words = ("The cat sat on", "A boy had a", "One day the sun")
        ids = torch.tensor(bundle.tokenizer([words[number % 3]] * 2)["input_ids"])
        return bundle.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=16,
            custom_generate=generation,
            uniforms=uniforms[number],
        ).tolist()

    assert in_threads(continued, range(30)) == [continued(number) for number in range(30)]
