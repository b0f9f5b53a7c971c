"""Models of other kinds: transformers' own, without gates, in other number formats, too narrow."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lm.errors import InvalidValueError
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig
from tests.tidal_gym.conftest import OPENINGS, VOCABULARY
from tidal_gym.dynamics.streams import TwoStreams
from tidal_gym.envs.vector_env import TidalGatingVectorEnv

SPECIAL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


@pytest.fixture(scope="session")
def folders(save_model) -> dict[str, str]:
    gpt2 = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=48, n_layer=2, n_head=2, **SPECIAL)
    llama = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        **SPECIAL,
    )
    plain = GatedTransformerConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        gated=False,
        **SPECIAL,
    )
    models = {"gpt2": GPT2LMHeadModel(gpt2), "llama": LlamaForCausalLM(llama), "ungated": GatedTransformer(plain)}
    return {name: save_model(model) for name, model in models.items()}


def make(folder: str, num_envs: int = 3, **arguments) -> TidalGatingVectorEnv:
    defaults = {"prompts": list(OPENINGS), "max_episode_steps": 12, "dtype": "float64", "autoreset_mode": "SameStep"}
    return TidalGatingVectorEnv(num_envs, model=folder, **{**defaults, **arguments})


def actions_for(rows: int, steps: int) -> np.ndarray:
    return np.random.default_rng(2).random((steps, rows, 3))


@pytest.mark.parametrize("name", ["gpt2", "llama", "ungated"])
def test_any_causal_lm(folders, name):
    """Runs, is steered by all three gates, and observes what the model says without a cache."""
    env = make(folders[name])
    assert env.bundle.context_length == 64 and env.bundle.width == 48
    env.reset(seed=0)
    for actions in actions_for(3, 20):
        observations, rewards, *_ = env.step(actions)
        assert np.isfinite(observations).all() and np.isfinite(rewards).all()
    for row, ids in enumerate(env.token_ids()):
        with torch.inference_mode():
            output = env.bundle.model(torch.tensor([ids]), output_hidden_states=True)
        p = output.logits[0, -1].softmax(dim=0)
        assert observations[row, 1] == pytest.approx(float(-(p * p.log()).sum()) / 3.0 - 1, abs=1e-5)
        assert observations[row, 4] == pytest.approx(float(p.max()), abs=1e-6)
        means = [chunk.mean() for chunk in np.array_split(output.hidden_states[-1][0, -1].numpy(), 24)]
        np.testing.assert_allclose(observations[row, 10:34], means, atol=1e-5)
    neutral, *others = env.expected_rewards([[0.5, 0, 0], [0.9, 0, 0], [0.5, 0.8, 0], [0.5, 0, 0.8]]).T
    for other in others:
        assert (np.abs(other - neutral) > 1e-9).all()


@pytest.mark.parametrize("name", ["gpt2", "llama", "ungated"])
def test_batched_equals_single_for_any_model(folders, name):
    env, singles = make(folders[name]), [make(folders[name], 1) for _ in range(3)]
    env.reset(seed=5)
    for row, single in enumerate(singles):
        single.reset(seed=5 + row)
    for actions in actions_for(3, 15):
        _, rewards, *_ = env.step(actions)
        for row, single in enumerate(singles):
            assert single.step(actions[row : row + 1])[1][0] == pytest.approx(rewards[row], abs=1e-9)
    assert env.token_ids() == [single.token_ids()[0] for single in singles]


@pytest.mark.parametrize("name", ["gpt2", "ungated"])
def test_one_stream_serves_both_where_nothing_can_differ(folders, name, monkeypatch):
    shared = make(folders[name], modulation={"focus_strength": 0.0})
    assert shared._generation.streams.is_shared
    monkeypatch.setattr(TwoStreams, "is_shared", False)
    double = make(folders[name], modulation={"focus_strength": 0.0})
    monkeypatch.undo()
    assert shared._generation.streams._gated is shared._generation.streams._neutral
    assert double._generation.streams._gated is not double._generation.streams._neutral

    forwards = {"shared": 0, "double": 0}
    for label, env in (("shared", shared), ("double", double)):
        streams = env._generation.streams
        for stream in {id(streams._neutral): streams._neutral, id(streams._gated): streams._gated}.values():
            monkeypatch.setattr(stream, "step", counted(stream.step, forwards, label))
    grid = [[0.1, 0.2, 0.3], [0.9, 1.0, 0.0]]
    np.testing.assert_allclose(shared.reset(seed=1)[0], double.reset(seed=1)[0], atol=1e-6)
    for actions in actions_for(3, 20):
        np.testing.assert_allclose(shared.expected_rewards(grid), double.expected_rewards(grid), atol=1e-10)
        ours, theirs = shared.step(actions), double.step(actions)
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-10)
        assert shared.token_ids() == double.token_ids()
    assert forwards["shared"] == 20


def counted(step, forwards: dict[str, int], label: str):
    def counting(*arguments, **options):
        forwards[label] += 1
        return step(*arguments, **options)

    return counting


def test_two_streams_for_a_gated_model(make_env):
    assert not make_env(modulation={"focus_strength": 0.0})._generation.streams.is_shared


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_number_formats(folders, make_env, dtype):
    for env in (make_env(3, dtype=dtype), make(folders["gpt2"], dtype=dtype)):
        env.reset(seed=0)
        for actions in actions_for(3, 15):
            observations, rewards, *_ = env.step(actions)
            assert np.isfinite(observations).all() and np.isfinite(rewards).all()
        assert env.expected_rewards([[0.5, 0.0, 0.0]]).shape == (3, 1)


def test_float32_agrees_with_float64(make_env):
    single, double = make_env(8), make_env(8, dtype="float64")
    np.testing.assert_allclose(single.reset(seed=0)[0], double.reset(seed=0)[0], atol=2e-4)
    grid = [[0.1, 0.2, 0.3], [0.9, 1.0, 0.0]]
    np.testing.assert_allclose(single.expected_rewards(grid), double.expected_rewards(grid), atol=1e-3)


def test_too_narrow_a_model(save_model):
    config = GatedTransformerConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=16,
        max_position_embeddings=96,
        **SPECIAL,
    )
    folder = save_model(GatedTransformer(config))
    with pytest.raises(
        InvalidValueError, match=r"`model` must have a hidden state at least 24 wide\. Received width 16"
    ):
        make(folder)


def test_tokenizer_without_special_prefix(save_model, tokenizer, folders, tmp_path):
    """... and an opening of a single token: the gated stream begins empty, and the newest token has no surprisal."""
    plain = copy.deepcopy(tokenizer)
    plain.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    for name in ("ungated", "gpt2"):
        folder = shutil.copytree(folders[name], tmp_path / name)
        plain.save_pretrained(folder)
        env = make(str(folder), prompts=["O", "Once upon a time"], autoreset_mode="NextStep")
        observations, _ = env.reset(seed=0)
        contexts = env.token_ids()
        assert {tuple(ids) for ids in contexts} > {tuple(plain("O").input_ids)}
        for row, ids in enumerate(contexts):
            assert ids[0] != 0
            assert (observations[row, 9] == 0) == (len(ids) == 1)
        for actions in actions_for(3, 3):
            assert np.isfinite(env.step(actions)[0]).all()


def test_predictions_that_become_nan_are_named(make_env, monkeypatch):
    env = make_env(3, dtype="float32")
    env.reset(seed=0)
    read = env._generation.streams._gated.step

    def broken(*arguments, **options):
        output = read(*arguments, **options)
        output.logits[1] = torch.nan
        return output

    monkeypatch.setattr(env._generation.streams._gated, "step", broken)
    with pytest.raises(InvalidValueError, match="`model` must predict finite probabilities"):
        env.step(actions_for(3, 1)[0])
