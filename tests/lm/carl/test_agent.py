"""Answering and abstaining."""

from __future__ import annotations

import pytest
import torch

from lm.carl import agent_step, carl_reward
from lm.errors import InvalidValueError
from lm.model_names import resolve
from lm.models.bundle import Bundle, load_bundle
from lm.tokenizers.tokenization import load_tokenizer


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("tidal-tiny")


def test_an_answer_and_its_measure(bundle: Bundle) -> None:
    step = agent_step(bundle.model, bundle.tokenizer, "Once upon a time", max_new_tokens=12)
    assert step.should_act and step.response == step.draft and len(step.token_ids) == 12
    prompt = bundle.tokenizer("Once upon a time")["input_ids"]
    ids = torch.tensor([[*prompt, *step.token_ids]])
    with torch.inference_mode():
        logits = bundle.model(input_ids=ids).logits[0]
    # Greedy: every token is the most probable one of the logits before it.
    assert logits[len(prompt) - 1 : -1].argmax(dim=1).tolist() == list(step.token_ids)
    score, components = carl_reward(logits.numpy(), ids[0].numpy(), mask=torch.arange(ids.shape[1]) >= len(prompt))
    assert step.score == pytest.approx(score, abs=1e-6)
    assert step.components["phi_mean"] == pytest.approx(components["phi_mean"], abs=1e-6)


def test_abstaining(bundle: Bundle) -> None:
    step = agent_step(bundle.model, bundle.tokenizer, "Once upon a time", max_new_tokens=6, threshold=0.999)
    assert (step.response, step.should_act, step.confidence) == (None, False, "abstain")
    assert step.draft.strip()


def test_draws_follow_the_seed_alone(bundle: Bundle) -> None:
    def draft(seed: int) -> str:
        return agent_step(
            bundle.model, bundle.tokenizer, "One day", max_new_tokens=12, temperature=1.0, seed=seed
        ).draft

    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = draft(1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert draft(1) == first != draft(2)


def test_chat_template(bundle: Bundle) -> None:
    tokenizer = load_tokenizer(resolve("tidal-tiny"))
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }} said {{ m.content }}. {% endfor %}"
        "{% if add_generation_prompt %}Then{% endif %}"
    )
    as_text = agent_step(bundle.model, tokenizer, "hello", max_new_tokens=5)
    as_messages = agent_step(bundle.model, tokenizer, [{"role": "user", "content": "hello"}], max_new_tokens=5)
    assert as_text == as_messages
    plain = agent_step(bundle.model, bundle.tokenizer, "user said hello. Then", max_new_tokens=5)
    assert plain.draft != "" and as_text.draft != ""


@pytest.mark.parametrize(
    ("prompt", "options", "says"),
    [
        ("  ", {}, "`prompt` must not be empty. Received '  '."),
        ([], {}, r"`prompt` must not be empty. Received \[\]."),
        ([{"role": "user", "content": "x"}], {}, "`prompt` may hold messages only for a chat template"),
        ("One day", {"max_new_tokens": 0}, "`max_new_tokens` must be at least 1. Received 0."),
        (
            "One day",
            {"max_new_tokens": 255},
            r"`max_new_tokens` must be at most 25\d for a prompt of \d tokens in the model's context of 256",
        ),
        ("One day", {"temperature": -1.0}, "`temperature` must be at least 0 and at most 10000. Received -1.0."),
        ("One day", {"temperature": 1e-300}, "`temperature` must be 0 or at least 0.0001. Received 1e-300."),
        ("day " * 300, {}, "`prompt` must leave room in the model's context of 256 tokens. Received"),
        ("One day", {"threshold": 1.1}, "`threshold` must be at most 1. Received 1.1."),
    ],
)
def test_bad_input(bundle: Bundle, prompt: object, options: dict[str, float], says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        agent_step(bundle.model, bundle.tokenizer, prompt, **options)
