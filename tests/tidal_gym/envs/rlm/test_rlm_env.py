"""TidalRLM-v0: the judge's reward by the slow way, sentences as episodes, and Gymnasium's rules."""

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
from lm.errors import InvalidValueError, ModelFolderError
from lm.model_names import bundled_models
from lm.models.config import ModelConfig
from lm.rlm.config import ExamplesConfig, GrammarConfig, OptimizationConfig, RLMConfig
from lm.rlm.grammar import RandomGrammar
from lm.rlm.training import train_on_grammar
from tidal_gym.envs.rlm import env as rlm_env
from tidal_gym.envs.rlm.vector_env import GrammarJudge, TidalRLMVectorEnv

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


def test_the_grammar_judges_by_its_posterior():
    """Rows begin anew at different times; some idle behind their sentence, some read the token that begins one."""
    grammar, generator = RandomGrammar(SYMBOLS, 2, 2.0, 1), torch.Generator().manual_seed(0)
    judge, texts = GrammarJudge(grammar, 3), [[], [], []]
    judge.begin(torch.arange(3), torch.full((3, 1), SYMBOLS), torch.ones(3, dtype=torch.int64))
    for step in range(16):
        for row, text in enumerate(texts):
            if len(text) < LENGTH:
                leaves = torch.tensor([[*text, *[0] * (LENGTH - len(text))]])
                torch.testing.assert_close(
                    judge.log_probs[row, :SYMBOLS], grammar.next_token_posterior(leaves)[0, len(text)].log()
                )
        assert not torch.isnan(judge.log_probs).any()
        assert (judge.log_probs[:, SYMBOLS] == -math.inf).all()
        tokens = torch.randint(0, SYMBOLS, (3,), generator=generator)
        tokens[0] = SYMBOLS if len(texts[0]) >= LENGTH else tokens[0]
        judge.advance(tokens)
        for row, period in enumerate((7, 4, 3)):
            texts[row].append(int(tokens[row]))
            if step % period == period - 1:
                judge.begin(torch.tensor([row]), torch.tensor([[SYMBOLS]]), torch.tensor([1]))
                texts[row] = []


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
    env.reset(seed=0)

    class Exact:
        is_shared = True
        latest = env._generation.streams.latest

        def gated_logits(self, newest, gates, focus_bias, keep=True):
            return env._scoring.judge.log_probs.clamp(min=-700.0)

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


def test_copies_are_judged_as_the_original(model):
    env, copies = TidalRLMVectorEnv(2, model=model), TidalRLMVectorEnv(3, model=model)
    env.reset(seed=1), copies.reset(seed=2)
    env.step(np.tile(env.neutral_action, (2, 1)))
    copies.copy_rows(env, [1, 0, 1])
    actions = np.random.default_rng(0).random((2, 3))
    np.testing.assert_allclose(copies.expected_rewards(actions), env.expected_rewards(actions)[[1, 0, 1]], atol=1e-5)


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


@pytest.mark.unseeded  # the checker resets without a seed, and wants only that it works
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
    with pytest.raises(ModelFolderError, match=r"was not trained to generate sentences: it has 6 tokens for 6 symbols"):
        TidalRLMVectorEnv(1, model=save_run(tmp_path, "last"))


def test_sentences_have_no_openings(model):
    assert TidalRLMVectorEnv(1, model=model, prompts="heldout").max_episode_steps == LENGTH
    with pytest.raises(InvalidValueError, match=r"`prompts` must be one of train, heldout: .* Received \['s1 s2'\]\."):
        TidalRLMVectorEnv(1, model=model, prompts=["s1 s2"])


@pytest.mark.skipif("rlm-tiny" not in bundled_models(), reason="the bundled model is not in the checkout")
def test_the_manuals_example_runs():
    results = doctest.testmod(rlm_env)
    assert results.attempted > 4 and results.failed == 0


def test_a_language_model_may_judge_in_place_of_the_grammar(model):
    env = TidalRLMVectorEnv(2, model=model, judge=model, dtype="float64")
    env.reset(seed=0)
    rewards = env.step(np.tile(env.neutral_action, (2, 1)))[1]
    np.testing.assert_allclose(rewards, 0.0, atol=1e-9, err_msg="the model agrees with itself")
