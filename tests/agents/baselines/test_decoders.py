import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList

from agents.baselines.baselines import Fixed, Neutral
from agents.baselines.decoder_names import DECODERS
from agents.baselines.decoders import DECODER_FAMILIES, decoder
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import episode_seed, run_episodes
from agents.evaluation.evaluation import evaluate
from agents.generation.gated_generation import generate_tokens
from lm.errors import InvalidValueError


def test_every_family_is_there() -> None:
    assert tuple(DECODER_FAMILIES) == DECODERS
    for name, family in DECODER_FAMILIES.items():
        assert family.name == name
        assert family.space["repetition_penalty"].default == 1.0
        for where in family.space.values():
            assert where.low <= where.default <= where.high
        assert decoder(name).parameters == {name: where.default for name, where in family.space.items()}


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_every_family_runs_and_repeats_itself(name: str, tiny_env: EnvConfig) -> None:
    env = tiny_env.make(4)
    agent = decoder(name, repetition_penalty=1.2)
    seeds = [episode_seed(3, number) for number in range(4)]
    first, again = run_episodes(agent, env, seeds), run_episodes(agent, env, seeds)
    np.testing.assert_array_equal(first.tokens, again.tokens)
    np.testing.assert_array_equal(first.rewards, again.rewards)
    assert first.prompts == run_episodes(Neutral(), env, seeds).prompts
    np.testing.assert_array_equal(first.gates[first.is_alive], np.float32([[0.5, 0, 0]] * first.lengths.sum()))


def test_static_gates_without_focus_are_a_decoder(tiny_env: EnvConfig) -> None:
    """Penalty, top-k and temperature mean the same to both; the model's own gates are neutral."""
    env = replace(tiny_env, dtype="float64", modulation={"base_penalty": 1.3, "base_temperature": 0.7, "top_k": 20})
    gated = evaluate(Fixed((0.5, 0, 0)), env, episodes=8, prompts="train")
    parameters = {"repetition_penalty": 1.3, "temperature": 0.7, "top_k": 20}
    drawn = evaluate(decoder("top-k", **parameters), env, episodes=8, prompts="train")
    assert [sample.text for sample in drawn.samples] == [sample.text for sample in gated.samples]
    assert drawn.returns == pytest.approx(gated.returns, abs=1e-12)
    assert drawn.episodes_fingerprint == gated.episodes_fingerprint


def test_temperature_comes_before_truncation() -> None:
    """As in transformers: at temperature 2 half of the logits' distance counts, and min-p keeps more."""
    scores = torch.tensor([[0.0, -2.0, -4.0]])
    texts = torch.zeros(1, 1, dtype=torch.int64)
    for temperature, kept in ((1.0, 1), (2.0, 2)):  # e^-2 is 0.14, e^-1 0.37
        processors = DECODER_FAMILIES["min-p"].processors(min_p=0.2, temperature=temperature)
        assert isinstance(processors, LogitsProcessorList)
        assert int((processors(texts, scores) > -torch.inf).sum()) == kept


def test_a_decoder_writes_token_by_token(tiny_env: EnvConfig) -> None:
    tokens = list(generate_tokens(decoder("mirostat"), tiny_env, "The cat", max_tokens=5))
    assert 1 <= len(tokens) <= 5
    assert tokens[0].gates == (0.5, 0, 0)
    assert tokens[0].temperature is None and tokens[0].penalty is None


def test_a_decoder_has_no_gates_to_give() -> None:
    with pytest.raises(TypeError, match="The decoder 'edt' sets no gates"):
        decoder("edt").act(np.zeros((2, 64), np.float32))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("min-q", {}, "^`decoder` must be one of temperature, top-k"),
        ("min-p", {"min_q": 0.1}, "^`min-p` may only have the parameters min_p, .* Did you mean `min_p`"),
        ("min-p", {"min_p": float("nan")}, "^`min-p.min_p` must be a finite number"),
        ("top-k", {"top_k": 2.5}, "^`top-k.top_k` must be a whole number"),
        ("top-p", {"top_p": 1.5}, "^`top-p` must have parameters that it can use.* `top_p`"),
        ("edt", {"theta": -1.0}, "^`theta` must be at least 0"),
        ("temperature", {"repetition_penalty": 0.0}, "^`repetition_penalty` must be at least 0.001"),
    ],
)
def test_bad_parameters_are_named(name: str, parameters: dict, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        decoder(name, **parameters)


@pytest.mark.parametrize("name", DECODER_FAMILIES)
def test_decoders_can_be_sent_to_workers(name: str) -> None:
    sent = pickle.loads(pickle.dumps(decoder(name, repetition_penalty=1.5)))
    assert sent.family is DECODER_FAMILIES[name]
    assert sent.parameters == decoder(name, repetition_penalty=1.5).parameters
