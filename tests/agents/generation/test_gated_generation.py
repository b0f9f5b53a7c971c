import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from agents.baselines.baselines import Fixed, Neutral, Random
from agents.baselines.tuning import FAMILIES
from agents.episodes.agent import Agent
from agents.episodes.env_config import EnvConfig
from agents.generation.gated_generation import GatedGeneration, generate_tokens
from lm.errors import InvalidValueError
from lm.models.bundle import load_bundle
from tests.agents.conftest import OPENINGS
from tests.agents.policy.test_controller import OBSERVATIONS, trained

LIMIT = 6


class Reactive(Agent):
    """Gates from a fixed random map of the observation, so that a wrong observation shows in the tokens."""

    name = "reactive"

    def __init__(self) -> None:
        self.weights = np.random.default_rng(5).normal(size=(64, 3))
        self.seen: list[np.ndarray] = []

    def act(self, observations: np.ndarray) -> np.ndarray:
        self.seen.append(observations)
        return (1 / (1 + np.exp(-observations @ self.weights))).astype(np.float32)


@pytest.fixture
def whole_env(tiny_env: EnvConfig) -> EnvConfig:
    """The environment on the first opening alone, all of its tokens."""
    return replace(tiny_env, prompts=OPENINGS[:1], prompt_tokens=(99, 99), max_episode_steps=LIMIT)


@pytest.mark.parametrize("seed", range(5))
def test_generator_draws_the_environments_tokens(whole_env: EnvConfig, seed: int) -> None:
    env = whole_env.make(1, autoreset_mode="Disabled")
    observations, _ = env.reset(seed=seed)
    agent = Reactive()
    expected = []
    is_over = False
    while not is_over:
        gates = agent.act(observations)
        observations, _, termination, truncation, info = env.step(gates)
        is_over = termination[0] or truncation[0]
        expected.append((info["token"][0], *gates[0].tolist(), info["temperature"][0], info["entropy"][0]))
    tokens = list(generate_tokens(Reactive(), whole_env, OPENINGS[0], max_tokens=LIMIT, seed=seed))
    assert [(token.token_id, *token.gates, token.temperature, token.entropy) for token in tokens] == expected
    assert OPENINGS[0] + "".join(token.text for token in tokens) == env.texts()[0]


def test_generator_yields_each_token_as_it_is_drawn(whole_env: EnvConfig) -> None:
    agent = Reactive()
    stream = generate_tokens(agent, whole_env, OPENINGS[0], max_tokens=LIMIT)
    next(stream)
    assert len(agent.seen) == 1
    stream.close()


def draw_always(text: str, env: EnvConfig, monkeypatch: pytest.MonkeyPatch) -> int:
    """Have the environment draw the tokens of a text, whatever the gates are; returns how many these are."""
    ids = load_bundle(env.model).tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = iter(ids)
    monkeypatch.setattr("tidal_gym.envs.vector_env.draw", lambda distribution, uniforms: torch.tensor([next(tokens)]))
    return len(ids)


def test_pieces_of_a_character_come_with_its_last_byte(whole_env: EnvConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny vocabulary spells é in two tokens."""
    assert draw_always("é!", whole_env, monkeypatch) == 3
    texts = [token.text for token in generate_tokens(Neutral(), whole_env, "The dog", max_tokens=3)]
    assert texts == ["", "é", "!"]


def test_stop_string_ends_the_text(whole_env: EnvConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it spans tokens; what the prompt says does not count."""
    assert draw_always(" dog. The end", whole_env, monkeypatch) > 6
    stop = ["upon", "g. ", "end"]
    stopped = list(generate_tokens(Neutral(), whole_env, OPENINGS[0], max_tokens=12, stop=stop))
    text = "".join(token.text for token in stopped)
    assert "g. " in text
    assert "g. " not in text.removesuffix(stopped[-1].text)
    with pytest.raises(InvalidValueError, match=r"^`stop` must hold strings that are not empty"):
        list(generate_tokens(Neutral(), whole_env, OPENINGS[0], stop=[""]))


def test_end_of_text_ends_and_adds_nothing(whole_env: EnvConfig) -> None:
    for seed in range(40):
        tokens = list(generate_tokens(Neutral(), whole_env, OPENINGS[0], max_tokens=LIMIT, seed=seed))
        if len(tokens) < LIMIT:
            assert (tokens[-1].token_id, tokens[-1].text) == (0, "")
            return
    raise AssertionError("the tiny model never ended a text")


def test_prompt_that_does_not_fit_is_named(whole_env: EnvConfig) -> None:
    with pytest.raises(InvalidValueError, match="`max_tokens` must be at most"):
        list(generate_tokens(Neutral(), whole_env, OPENINGS[0], max_tokens=95))
    with pytest.raises(InvalidValueError, match="`prompts` must hold text"):
        list(generate_tokens(Neutral(), whole_env, ""))
    with pytest.raises(InvalidValueError, match="`max_tokens` must be at least 1. Received 0"):
        list(generate_tokens(Neutral(), whole_env, OPENINGS[0], max_tokens=0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_generate_draws_the_environments_tokens(whole_env: EnvConfig, dtype: str) -> None:
    """Through `model.generate`, four rows with the random numbers of four episodes."""
    env = replace(whole_env, dtype=dtype).make(4, autoreset_mode="Disabled")
    agent = Reactive()
    observations, _ = env.reset(seed=0)
    prompts = torch.tensor(env.token_ids())
    uniforms = torch.as_tensor(env.episodes.uniforms[:, :LIMIT])
    tokens = [env.step(agent.act(observations))]
    while not (tokens[-1][2] | tokens[-1][3]).any():
        tokens.append(env.step(agent.act(tokens[-1][0])))
    expected = np.stack([infos["token"] for *_, infos in tokens], axis=1)

    bundle = env.bundle
    again = Reactive()
    generation = GatedGeneration(again, bundle.statistics.human_entropy)
    arguments = {"max_new_tokens": LIMIT, "pad_token_id": 0, "custom_generate": generation, "uniforms": uniforms}
    output = bundle.model.generate(prompts, attention_mask=torch.ones_like(prompts), **arguments)
    assert torch.equal(output[:, : prompts.shape[1]], prompts)
    np.testing.assert_array_equal(output[:, prompts.shape[1] :][:, : expected.shape[1]], expected)
    for ours, theirs in zip(again.seen, agent.seen, strict=False):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 if dtype == "float32" else 1e-9)


def test_left_padding_changes_nothing(whole_env: EnvConfig) -> None:
    bundle = load_bundle(whole_env.model, dtype="float64")
    generation = GatedGeneration(Reactive(), bundle.statistics.human_entropy)
    short, long = (bundle.tokenizer(text, return_tensors="pt").input_ids for text in ("The cat", OPENINGS[0]))
    uniforms = torch.rand(2, LIMIT, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    padding = long.shape[1] - short.shape[1]
    padded = torch.nn.functional.pad(short, (padding, 0))
    mask = torch.ones(2, long.shape[1], dtype=torch.int64)
    mask[0, :padding] = 0
    arguments = {"max_new_tokens": LIMIT, "pad_token_id": 0, "custom_generate": generation}
    both = bundle.model.generate(torch.cat((padded, long)), attention_mask=mask, uniforms=uniforms, **arguments)
    for row, prompt in enumerate((short, long)):
        alone = bundle.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), uniforms=uniforms[row : row + 1], **arguments
        )
        drawn = alone[0, prompt.shape[1] :]
        assert torch.equal(both[row, long.shape[1] :][: len(drawn)], drawn)


def test_ended_rows_are_padded_and_stopping_criteria_are_minded(whole_env: EnvConfig) -> None:
    bundle = load_bundle(whole_env.model)
    prompt = bundle.tokenizer(OPENINGS[0], return_tensors="pt").input_ids.repeat(64, 1)
    generation = GatedGeneration(Neutral(), bundle.statistics.human_entropy)
    torch.manual_seed(0)
    arguments = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": 12, "custom_generate": generation}
    output = bundle.model.generate(prompt, eos_token_id=[0, 5], pad_token_id=7, **arguments)[:, prompt.shape[1] :]
    is_end = (output == 0) | (output == 5)
    after = is_end.int().cumsum(dim=1) - is_end.int() > 0
    assert after.any()
    assert (output[after] == 7).all()
    torch.manual_seed(0)
    again = bundle.model.generate(prompt, eos_token_id=[0, 5], pad_token_id=7, **arguments)[:, prompt.shape[1] :]
    assert torch.equal(again, output)


def test_any_causal_model_can_be_steered() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=60, n_embd=24, n_layer=1, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config).eval()
    prompt = torch.tensor([[5, 6, 7], [8, 9, 10]])
    arguments = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": 5, "pad_token_id": 0}
    cold = GatedGeneration(Fixed((0.0, 0.0, 0.0)), 3.0, {"base_temperature": 1e-4, "focus_strength": 0.0})
    greedy = model.generate(prompt, do_sample=False, **arguments)
    steered = model.generate(prompt, custom_generate=cold, **arguments)
    assert torch.equal(steered, greedy)
    random = model.generate(prompt, custom_generate=GatedGeneration(Random(), 3.0), **arguments)
    assert random.shape[1] <= 8


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InvalidValueError, match=r"^`human_entropy` must be above 0 .* Received 0"):
        GatedGeneration(Neutral(), 0)
    with pytest.raises(InvalidValueError, match="^`modulation` may only have the keys"):
        GatedGeneration(Neutral(), 3.0, {"top_q": 3})


def test_agents_and_decoding_methods_can_be_pickled(whole_env: EnvConfig) -> None:
    controller = trained()[0]
    copy = pickle.loads(pickle.dumps(controller))
    np.testing.assert_array_equal(copy.act(OBSERVATIONS), controller.act(OBSERVATIONS))
    for agent in (Neutral(), Random(), Fixed((0.1, 0.2, 0.3)), *(family.agent() for family in FAMILIES.values())):
        texts = [
            [token.token_id for token in generate_tokens(one, whole_env, OPENINGS[0], max_tokens=4, seed=3)]
            for one in (agent, pickle.loads(pickle.dumps(agent)))
        ]
        assert texts[0] == texts[1], agent.name
    method = pickle.loads(pickle.dumps(GatedGeneration(Fixed((0.1, 0.2, 0.3)), 2.5, {"top_k": 7})))
    assert (method.human_entropy, method.modulation.top_k) == (2.5, 7)
    np.testing.assert_allclose(method.agent.act(np.zeros((2, 64))), [[0.1, 0.2, 0.3]] * 2, rtol=1e-6)


def test_a_stop_string_is_one_string(whole_env: EnvConfig) -> None:
    def texts(stop: str | list[str]) -> list[str]:
        return [token.text for token in generate_tokens(Neutral(), whole_env, OPENINGS[0], max_tokens=6, stop=stop)]

    whole = texts([])
    assert texts("".join(whole[:3])) == texts(["".join(whole[:3])]) == whole[:3]
    assert texts(whole[0] + "\u2603") == whole  # none of its letters stops
