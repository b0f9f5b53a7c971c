"""TidalRLM-v0: the judge's reward by hand and by the slow way, sentences as episodes, and Gymnasium's rules."""

from __future__ import annotations

import doctest
import math
import pickle

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

import tidal_gym
from lm.bundle import bundled_models
from lm.errors import InvalidValueError, ModelFolderError
from lm.pretraining_config import ModelConfig
from lm.rlm.config import ExamplesConfig, GrammarConfig, OptimizationConfig, RLMConfig
from lm.rlm.grammar import RandomGrammar
from lm.rlm.training import train_on_grammar
from tidal_gym import rlm_env
from tidal_gym.judge import JudgeReward, JudgeWeights, reverse_divergence
from tidal_gym.modulation import SamplingDistribution
from tidal_gym.rewards import Outcome, RewardReference, make_reward
from tidal_gym.rlm_vector_env import GrammarJudge, TidalRLMVectorEnv

SYMBOLS, LENGTH = 6, 4


def save_run(folder, task="next"):
    """A hardly trained model on a tiny grammar."""
    config = RLMConfig(
        GrammarConfig(SYMBOLS, 2, 2.0, 1),
        ExamplesConfig(task=task, test_size=50),
        ModelConfig(hidden_size=26, num_hidden_layers=1, num_attention_heads=1, intermediate_size=32, gated=False),
        OptimizationConfig(max_steps=30, learning_rate=1e-2, checkpoints=2),
    )
    return str(train_on_grammar(config, folder / "run").model_folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("rlm"))


def test_reverse_divergence_by_hand():
    """q = (1/2, 1/2) on tokens 2 and 0; P = (1/8, 5/8, 1/4): ½ log(½ / ¼) + ½ log(½ / ⅛)."""
    log_probs = torch.tensor([[1 / 8, 5 / 8, 1 / 4]], dtype=torch.float64).log()
    probs = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    expected = 0.5 * math.log(2) + 0.5 * math.log(4)
    assert reverse_divergence(torch.tensor([[2, 0]]), probs, log_probs).item() == pytest.approx(expected, abs=1e-12)
    one = torch.tensor([[0.0, 1.0]], dtype=torch.float64)  # what q cannot draw costs nothing
    assert reverse_divergence(torch.tensor([[2, 1]]), one, log_probs).item() == pytest.approx(-math.log(5 / 8))


def test_what_the_judge_rules_out_is_dear_but_finite():
    log_probs = torch.tensor([[0.0, -math.inf]], dtype=torch.float64)
    probs = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    expected = 0.9 * math.log(0.9) + 0.1 * (math.log(0.1) - math.log(1e-12))
    divergence = reverse_divergence(torch.tensor([[0, 1]]), probs, log_probs)
    assert divergence.item() == pytest.approx(expected, abs=1e-9)


class Opinion:
    """A judge that says the same of every text."""

    def __init__(self, probs):
        self.probs = torch.tensor([probs], dtype=torch.float64)

    def log_probs(self, text, lengths):
        return self.probs.log().expand(len(text), -1)


def test_any_judge_will_do():
    reward = make_reward("judge", RewardReference(None, 3, 1.0, Opinion([0.25, 0.25, 0.5])), {"agreement": 2.0})
    q = SamplingDistribution(torch.tensor([[0, 1, 2]]), torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64), None)
    outcome = Outcome(torch.tensor([[1, 2]]), None, q, None, None, torch.tensor([[0]]), torch.tensor([1]))
    terms, total = reward(outcome)
    expected = -(0.5 * math.log(2) + 0.25 * math.log(0.5))
    assert terms["agreement"].tolist() == [[pytest.approx(expected)] * 2]
    assert total.tolist() == [[pytest.approx(2 * expected)] * 2]


def test_without_a_judge():
    with pytest.raises(InvalidValueError, match=r"`reward` must be another where there is no judge\. Received 'judge'"):
        gymnasium.make("TidalGating-v0", reward="judge")
    with pytest.raises(InvalidValueError, match=r"`reward_weights\.agreement` must be a finite number"):
        JudgeWeights(float("inf"))
    assert JudgeReward(RewardReference(None, 3, 1.0, Opinion([1.0])), None).weights == JudgeWeights(1.0)


def test_the_grammar_judges_by_its_posterior():
    grammar = RandomGrammar(SYMBOLS, 2, 2.0, 1)
    judge = GrammarJudge(grammar)
    sentence = [3, 0, 5, 2]
    posterior = grammar.next_token_posterior(torch.tensor([sentence]))[0]
    # Rows at different places; what lies behind a row's length is another token, or the beginning one.
    text = torch.tensor([[6, 6, 6, 6, 6], [6, 3, 6, 6, 6], [6, 3, 0, 1, 1], [6, 3, 0, 5, 4], [6, 3, 0, 5, 2]])
    lengths = torch.tensor([1, 2, 3, 4, 5])
    log_probs = judge.log_probs(text, lengths)
    for row in range(4):
        torch.testing.assert_close(log_probs[row, :6], posterior[row].log())
    assert (log_probs[:, 6] == -math.inf).all()
    assert not torch.isnan(log_probs[4]).any(), "a row that idles behind its sentence"
    assert judge.log_probs(text.clone(), lengths.clone()) is log_probs, "asked again, it knows"
    text[1, 1] = 4
    assert not torch.equal(judge.log_probs(text, lengths)[1], log_probs[1])


def test_rewards_the_slow_way(model):
    """q is rebuilt from what `info` says of the modulation, P by the grammar from the tokens drawn."""
    env = TidalRLMVectorEnv(3, model=model, dtype="float64", autoreset_mode="Disabled")
    env.reset(seed=4)
    generator = np.random.default_rng(0)
    texts, divergences = [], []
    for _ in range(LENGTH):
        actions = generator.random((3, 3), dtype=np.float32)
        actions[:, 1:] = 0  # temperature alone, so that q follows from the model's logits
        before = torch.tensor(env.token_ids())
        logits = env.bundle.model(before).logits[:, -1].double()
        _, rewards, terminations, _, infos = env.step(actions)
        q = (logits / torch.tensor(infos["temperature"])[:, None]).softmax(dim=1)
        leaves = torch.nn.functional.pad(before[:, 1:], (0, LENGTH - before.shape[1] + 1))
        posterior = env.grammar.next_token_posterior(leaves)[:, before.shape[1] - 1]
        judged = torch.nn.functional.pad(posterior, (0, 1)).clamp(min=1e-12)
        divergences.append((q * (q.log() - judged.log())).sum(dim=1).numpy())
        np.testing.assert_allclose(rewards, -divergences[-1], atol=1e-6)
        np.testing.assert_allclose(infos["reward_agreement"], rewards)
        texts.append(infos["token"])
    assert terminations.all() and np.min(divergences) > 0
    expected = [[SYMBOLS, *row] for row in np.array(texts).T.tolist()]
    assert [list(ids) for ids in infos["token_ids"]] == expected


def test_sampling_as_the_grammar_does_earns_nothing_less_than_0(model):
    """The best return: with the exact posterior in place of the model, q is P at the neutral action."""
    env = TidalRLMVectorEnv(2, model=model, dtype="float64", autoreset_mode="Disabled")
    judge = GrammarJudge(env.grammar)
    env.reset(seed=0)

    class Exact:
        is_shared = True
        latest = env._generation.streams.latest

        def gated_logits(self, newest, gates, focus_bias, keep=True):
            return judge.log_probs(*env._generation.texts()).clamp(min=-700.0)

        def advance(self, tokens):
            pass

    env._generation.streams = Exact()
    for _ in range(LENGTH):
        rewards = env.step(np.tile(env.neutral_action, (2, 1)))[1]
        np.testing.assert_allclose(rewards, 0.0, atol=1e-9)


def test_expected_rewards_are_the_rewards(model):
    env = TidalRLMVectorEnv(4, model=model, autoreset_mode="Disabled")
    env.reset(seed=1)
    for action in ((0.5, 0.0, 0.0), (1.0, 1.0, 1.0), (0.2, 0.5, 0.1)):
        expected = env.expected_rewards([action])[:, 0]
        np.testing.assert_allclose(env.step(np.tile(action, (4, 1)))[1], expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_episodes_are_sentences(model, mode):
    env = TidalRLMVectorEnv(5, model=model, autoreset_mode=mode)
    env.reset(seed=0)
    ends = []
    for _ in range(3 * (LENGTH + 1)):
        _, rewards, terminations, _, _ = env.step(np.tile(env.neutral_action, (5, 1)))
        assert np.isfinite(rewards).all() and (rewards <= 0).all()
        ends.append(terminations.copy())
    period = LENGTH if mode == "SameStep" else LENGTH + 1
    is_end = (np.arange(1, len(ends) + 1) % period) == (LENGTH % period)
    assert (np.array(ends).mean(axis=1)[is_end] > 0.5).all()
    assert (np.array(ends).mean(axis=1)[~is_end] < 0.5).all()  # but for a drawn end of text


def test_a_shorter_limit_truncates(model):
    env = gymnasium.make("TidalRLM-v0", model=model, max_episode_steps=2)
    env.reset(seed=0)
    assert env.step((0.5, 0, 0))[2:4] == (False, False)
    assert env.step((0.5, 0, 0))[2:4] == (False, True)
    assert env.unwrapped.batch.max_episode_steps == 2


@pytest.mark.filterwarnings("ignore:.*Box observation space (minimum|maximum) value is.*infinity.*")
def test_gymnasiums_checker_pickling_and_json(model):
    env = gymnasium.make("TidalRLM-v0", model=model)
    check_env(env.unwrapped)
    for other in (pickle.loads(pickle.dumps(env)), gymnasium.make(EnvSpec.from_json(env.spec.to_json()))):
        np.testing.assert_array_equal(env.reset(seed=3)[0], other.reset(seed=3)[0])
        np.testing.assert_array_equal(env.step((0.1, 0.2, 0.3))[0], other.step((0.1, 0.2, 0.3))[0])
    envs = gymnasium.make_vec("TidalRLM-v0", num_envs=3, model=model)
    assert isinstance(envs, tidal_gym.TidalRLMVectorEnv) and envs.max_episode_steps == LENGTH


def test_other_rewards_work_on_a_grammar(model):
    env = gymnasium.make("TidalRLM-v0", model=model, reward="tidal")
    env.reset(seed=0)
    assert "reward_coherence" in env.step(env.unwrapped.neutral_action)[4]


def test_models_that_do_not_fit(tmp_path):
    with pytest.raises(ModelFolderError, match=r"'tidal-tiny' has no grammar"):
        gymnasium.make("TidalRLM-v0", model="tidal-tiny")
    with pytest.raises(ModelFolderError, match=r"was not trained to write sentences: it has 6 tokens for 6 symbols"):
        TidalRLMVectorEnv(1, model=save_run(tmp_path, "last"))


def test_sentences_have_no_openings(model):
    assert TidalRLMVectorEnv(1, model=model, prompts="heldout").max_episode_steps == LENGTH
    with pytest.raises(InvalidValueError, match=r"`prompts` must be one of train, heldout: .* Received \['s1 s2'\]\."):
        TidalRLMVectorEnv(1, model=model, prompts=["s1 s2"])


@pytest.mark.skipif("rlm-tiny" not in bundled_models(), reason="the bundled model is not in the checkout")
def test_the_manuals_example_runs():
    results = doctest.testmod(rlm_env)
    assert results.attempted > 4 and results.failed == 0
