"""One step of an agent that answers only when its model is coherent: generate, measure, answer or abstain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lm.carl.abstention import coherence_gate
from lm.carl.constants import SIGMA
from lm.carl.messages import text_of
from lm.carl.reward import carl_reward
from lm.checks import COUNT, SEED, TEMPERATURE, Bounds, at_least, require, require_integer, require_number
from lm.data.text_files import require_text
from lm.errors import InvalidValueError
from lm.models.text_config import text_config
from lm.tokenizers.tokenization import refusing_unknown_text


@dataclass(frozen=True)
class AgentStep:
    """Result of one step of the agent."""

    response: str | None
    """The answer to act on; None when it abstains."""
    draft: str
    """Text that the model generated, used or not."""
    token_ids: tuple[int, ...]
    """Token ids of the draft, end of text included."""
    should_act: bool
    """Whether the coherence gate is open."""
    confidence: str
    """ "high", "medium", "low" or "abstain"."""
    score: float
    """Corrected CARL reward of the draft, given the prompt."""
    components: Mapping[str, float]
    """Components of the CARL reward; the gate uses ``phi_mean``."""


def agent_step(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str | Sequence[Mapping[str, str]],
    *,
    threshold: float = SIGMA,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> AgentStep:
    """Generate an answer, measure its coherence, and abstain if the mean Φ is below the threshold.

    Φ is that of the model's own predictions for the generated tokens. It measures confidence, not correctness.

    Args:
        model: causal LM.
        tokenizer: its tokenizer. Where it has a chat template, a prompt given as text becomes the user's message.
        prompt: text, or messages with ``role`` and ``content``.
        threshold: mean Φ below which it abstains, at most 1.
        max_new_tokens: maximum number of new tokens, at least 1.
        temperature: sampling temperature in [1e-4, 1e4], or 0, which is greedy decoding.
        seed: seed of the sampling. torch's global generator does not change.

    Raises:
        InvalidValueError: the prompt is empty or fills the model's context, messages are given without a chat template,
            or a number is out of range.
    """
    # Before the model writes.
    require_number("threshold", threshold, Bounds(most=1))
    require_integer("max_new_tokens", max_new_tokens, COUNT)
    require_integer("seed", seed, SEED)
    if require_number("temperature", temperature, at_least(0, TEMPERATURE.most)) > 0:
        require("temperature", f"must be 0 or at least {TEMPERATURE.least:g}", temperature, temperature in TEMPERATURE)
    ids = _prompt_ids(tokenizer, prompt)
    context = getattr(text_config(model), "max_position_embeddings", None)
    if context is not None:
        where = f"the model's context of {context} tokens"
        if len(ids) >= context:
            raise InvalidValueError("prompt", f"must leave room in {where}", f"{len(ids)} tokens")
        if len(ids) + max_new_tokens > context:
            rule = f"must be at most {context - len(ids)} for a prompt of {len(ids)} tokens in {where}"
            raise InvalidValueError("max_new_tokens", rule, max_new_tokens)
    sequence = _generate(model, tokenizer, ids, max_new_tokens, temperature, seed)
    with torch.inference_mode():
        logits = model(input_ids=sequence, use_cache=False).logits
    is_completion = torch.arange(sequence.shape[1], device=sequence.device).unsqueeze(0) >= len(ids)
    score, components = carl_reward(logits, sequence, mask=is_completion)
    numbers = {name: float(value[0]) for name, value in components.items()}
    decision = coherence_gate(numbers["phi_mean"], threshold)
    written = sequence[0, len(ids) :].tolist()
    draft = tokenizer.decode(written, skip_special_tokens=True)
    return AgentStep(
        response=draft if decision.should_act else None,
        draft=draft,
        token_ids=tuple(written),
        should_act=decision.should_act,
        confidence=decision.confidence,
        score=float(score[0]),
        components=numbers,
    )


def _prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str | Sequence[Mapping[str, str]]) -> list[int]:
    if not prompt or (isinstance(prompt, str) and not prompt.strip()):
        raise InvalidValueError("prompt", "must not be empty", repr(prompt))
    if tokenizer.chat_template is not None:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        for message in messages:
            require_text(text_of(message.get("content")), "prompt")
        with refusing_unknown_text():
            return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    if not isinstance(prompt, str):
        hint = "Give the prompt as text."
        raise InvalidValueError("prompt", "may hold messages only for a chat template, and there is none", prompt, hint)
    with refusing_unknown_text():
        return tokenizer(require_text(prompt, "prompt"), split_special_tokens=True)["input_ids"]


def _generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    ids: list[int],
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> torch.Tensor:
    """Prompt and answer (1, P + T)."""
    draws = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    inputs = torch.tensor([ids], device=model.device)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        return model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=max_new_tokens,
            min_new_tokens=1,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            **(draws or {"do_sample": False}),
        )
