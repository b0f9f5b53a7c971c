"""The reward `judge`: by hand, against whole forwards of the judge over every text, and what it asks of a judge."""

from __future__ import annotations

import math
import pickle

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from transformers import GPT2Config, GPT2LMHeadModel

from agents.episodes.env_config import EnvConfig
from lm.errors import InvalidValueError, ModelFolderError
from lm.models.bundle import load_bundle, save_bundle
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig
from lm.models.reference_statistics import ReferenceStatistics
from lm.tokenizers.tokenization import train_bpe
from tests.tidal_gym.conftest import OPENINGS, VOCABULARY
from tidal_gym.dynamics.sampling_distribution import SamplingDistribution
from tidal_gym.rewards.judge import JudgeReward, JudgeWeights, reverse_divergence
from tidal_gym.rewards.rewards import Outcome, RewardReference, make_reward


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


def test_the_reward_by_hand():
    reward = make_reward("judge", RewardReference(None, 3, 1.0, has_judge=True), {"agreement": 2.0})
    q = SamplingDistribution(torch.tensor([[0, 1, 2]]), torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64), None)
    judged = torch.tensor([[0.25, 0.25, 0.5]], dtype=torch.float64).log()
    terms, total = reward(Outcome(torch.tensor([[1, 2]]), None, q, None, None, None, None, judged))
    expected = -(0.5 * math.log(2) + 0.25 * math.log(0.5))
    assert terms["agreement"].tolist() == [[pytest.approx(expected)] * 2]
    assert total.tolist() == [[pytest.approx(2 * expected)] * 2]


def test_bad_weights():
    with pytest.raises(InvalidValueError, match=r"`reward_weights\.agreement` must be a finite number"):
        JudgeReward(RewardReference(None, 3, 1.0, has_judge=True), {"agreement": float("inf")})
    assert JudgeReward(RewardReference(None, 3, 1.0, has_judge=True)).weights == JudgeWeights(1.0)


@pytest.fixture(scope="module")
def gated_judge(save_model):
    """Another architecture than the environment's model: learned positions, other sizes."""
    config = GatedTransformerConfig(
        vocab_size=VOCABULARY,
        hidden_size=36,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=48,
        position_embedding_type="learned",
        bos_token_id=0,
        eos_token_id=0,
    )
    return save_model(GatedTransformer(config), seed=9, scale=0.2)


@pytest.fixture(scope="module")
def gpt2_judge(save_model):
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=24, n_layer=2, n_head=2, n_positions=40)
    return save_model(GPT2LMHeadModel(config), seed=4, scale=0.3)


def slow_rewards(env, judge, actions):
    """Expected rewards (N, A) of actions (A, 3): every text read from its beginning, q and P over the vocabulary."""
    model = load_bundle(judge, dtype="float64").model
    rewards = np.zeros((env.num_envs, len(actions)))
    for row, ids in enumerate(env.token_ids()):
        with torch.inference_mode():
            judged = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].log_softmax(dim=0)
        for column, action in enumerate(actions):
            gates = torch.tensor(np.tile(action, (env.num_envs, 1)), dtype=env._generation.dtype)
            q, _ = env._generation.propose(gates, keep=False)
            rewards[row, column] = -sum(
                p * (math.log(p) - float(judged[token]))
                for token, p in zip(q.tokens[row].tolist(), q.probs[row].tolist(), strict=True)
                if p > 0
            )
    return rewards


@pytest.mark.parametrize("judge", ["gated_judge", "gpt2_judge"])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_rewards_and_expectations_the_slow_way(make_env, request, judge, mode):
    """Uneven prompts, and texts that end at any step: some row begins anew nearly all the time."""
    judge = request.getfixturevalue(judge)
    env = make_env(5, reward="judge", judge=judge, dtype="float64", autoreset_mode=mode, prompt_tokens=(1, 12))
    env.reset(seed=3)
    assert len({len(ids) for ids in env.token_ids()}) > 2
    generator, was_over, ended = np.random.default_rng(2), np.zeros(5, bool), 0
    for _ in range(20):
        actions = generator.random((3, 3)).astype(np.float32)
        expected = slow_rewards(env, judge, actions)
        np.testing.assert_allclose(env.expected_rewards(actions)[~was_over], expected[~was_over], atol=1e-9)
        _, rewards, terminations, truncations, infos = env.step(np.tile(actions[1], (5, 1)))
        np.testing.assert_allclose(rewards[~was_over], expected[~was_over, 1], atol=1e-9)
        assert (rewards[was_over] == 0).all()
        is_over = terminations | truncations
        was_over = is_over if mode == "NextStep" else np.zeros(5, bool)
        ended += is_over.sum()
        if mode == "SameStep" and is_over.any():
            row = np.flatnonzero(is_over)[0]
            assert infos["final_info"]["reward_agreement"][row] == rewards[row]
    assert ended > 4


def test_rows_that_are_reset_by_a_mask(make_env, gated_judge):
    env = make_env(4, reward="judge", judge=gated_judge, dtype="float64", autoreset_mode="Disabled")
    env.reset(seed=3)
    neutral = env.neutral_action[None]
    env.step(np.tile(neutral, (4, 1)))
    env.reset(seed=8, options={"reset_mask": np.array([False, True, True, True])})
    np.testing.assert_allclose(env.expected_rewards(neutral), slow_rewards(env, gated_judge, neutral), atol=1e-9)


def test_the_judge_reads_once_a_token_however_many_actions_are_tried(make_env, gated_judge, monkeypatch):
    env = make_env(3, reward="judge", judge=gated_judge)
    env.reset(seed=0)
    judge, reads = env._scoring.judge, []
    read = judge.advance
    monkeypatch.setattr(judge, "advance", lambda tokens: (reads.append(1), read(tokens)))
    env.expected_rewards(np.random.default_rng(0).random((20, 3)))
    assert len(reads) == 0
    env.step(np.tile(env.neutral_action, (3, 1)))
    assert len(reads) == 1


def test_the_best_that_can_be_earned_is_nothing(make_env, gated_folder):
    """Sampling as the judge would earns 0, and any gate that moves costs: with the model as its own judge."""
    env = make_env(4, reward="judge", judge=gated_folder, dtype="float64", modulation={"top_k": VOCABULARY})
    env.reset(seed=0)
    for _ in range(5):
        neutral, *others = env.expected_rewards([[0.5, 0, 0], [0.2, 0, 0], [0.9, 0, 0], [0.5, 0.8, 0], [0.5, 0, 0.8]]).T
        np.testing.assert_allclose(neutral, 0.0, atol=1e-9)
        assert np.max(others) < 0
        env.step(np.tile(env.neutral_action, (4, 1)))


def test_choice_of_the_judge(make_env, gated_judge):
    assert make_env()._scoring.judge is None
    env = make_env(2, judge=gated_judge)  # for a reward of one's own; the default one does not look
    env.reset(seed=0)
    assert "reward_agreement" not in env.step(np.tile(env.neutral_action, (2, 1)))[4]
    by_path = "tidal_gym.rewards.judge:JudgeReward"
    assert make_env(2, reward=by_path, judge=gated_judge)._scoring.reward.weights.agreement == 1.0
    rule = r"`reward` needs a judge\. Received 'judge'\. Name one, as judge='tidal-judge'\."
    with pytest.raises(InvalidValueError, match=rule):
        make_env(2, reward=by_path)


def test_judges_that_do_not_fit(make_env, gated_judge, tmp_path, save_model):
    rule = r"`judge` must have a context of at least the 5\d tokens of an episode\. Received .*model', with 48\."
    with pytest.raises(InvalidValueError, match=rule):
        make_env(2, reward="judge", judge=gated_judge, max_episode_steps=45)
    with pytest.raises(ModelFolderError, match=r"No model named './nowhere'"):
        make_env(2, reward="judge", judge="./nowhere")
    other = train_bpe(["Nothing that the other has seen, " * 9], VOCABULARY)
    config = GatedTransformerConfig(vocab_size=VOCABULARY, hidden_size=24, num_hidden_layers=1, num_attention_heads=1)
    statistics = ReferenceStatistics.from_tokens(np.arange(VOCABULARY), VOCABULARY, 1.0)
    save_bundle(tmp_path / "other", GatedTransformer(config), other, statistics)
    with pytest.raises(InvalidValueError, match=r"`judge` must be a model with the vocabulary of .* Received"):
        make_env(2, reward="judge", judge=str(tmp_path / "other"))
    with pytest.raises(InvalidValueError, match=r"`judge` must be a model with the vocabulary of .* Received"):
        make_env(2, reward="judge", judge="tidal-tiny")


def test_a_judge_needs_no_statistics(make_env, gated_judge, tmp_path):
    import shutil

    folder = shutil.copytree(gated_judge, tmp_path / "bare")
    (folder / "reference_statistics.safetensors").unlink()
    assert make_env(2, reward="judge", judge=str(folder))._scoring.judge is not None


def test_make_pickle_json_and_configuration_carry_the_judge(gated_folder, gated_judge):
    arguments = {"model": gated_folder, "prompts": list(OPENINGS), "reward": "judge", "judge": gated_judge}
    env = gymnasium.make("TidalGating-v0", max_episode_steps=12, **arguments)
    env.reset(seed=3)
    reward = env.step((0.1, 0.2, 0.3))[1]
    for other in (pickle.loads(pickle.dumps(env)), gymnasium.make(EnvSpec.from_json(env.spec.to_json()))):
        other.reset(seed=3)
        assert other.step((0.1, 0.2, 0.3))[1] == reward
    batch = EnvConfig(**arguments, max_episode_steps=12).make(1)
    batch.reset(seed=3)
    assert batch.step([(0.1, 0.2, 0.3)])[1][0] == pytest.approx(reward, abs=0.05)
