"""Text from a language model whose gates an agent sets: token by token, or inside ``model.generate``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteriaList

from agents.agent import Agent
from agents.env_config import EnvConfig
from lm.errors import InvalidValueError
from lm.text_config import context_length_of, text_config
from tidal_gym.actions import NEUTRAL_ACTION, require_gates
from tidal_gym.generation import Generation
from tidal_gym.modulation import ModulationConfig, draw
from tidal_gym.settings import settings_from


@dataclass(frozen=True)
class GeneratedToken:
    """One drawn token."""

    token_id: int
    """Its id."""
    text: str
    """What it adds to the text; empty while the bytes of a character are incomplete, and for the end of text."""
    gates: tuple[float, ...]
    """Creativity, focus and stability that it was drawn under."""
    temperature: float
    """Temperature that it was drawn at; NaN where a decoder drew it."""
    penalty: float
    """Repetition penalty that it was drawn under; NaN where a decoder drew it."""
    entropy: float
    """Entropy of the distribution that it was drawn from [nats]."""
    log_prob: float
    """Its log probability under the neutral model [nats]."""


def generate_tokens(
    agent: Agent, env: EnvConfig, prompt: str, *, max_tokens: int = 50, seed: int = 0, stop: Sequence[str] = ()
) -> Iterator[GeneratedToken]:
    """Continue a prompt, and yield each token as it is drawn. The environment itself does it, with a single row.

    Args:
        agent: sets the gates.
        env: model and modulation; its prompts and episode length are replaced.
        prompt: text to continue, all of it.
        max_tokens: most tokens to draw, at least 1. It is also what an agent takes for the length of the episode.
        seed: of the draws.
        stop: strings that end the text; the token that completes one is the last.

    Raises:
        InvalidValueError: the prompt or a stop string is empty, no token is asked for, or prompt and new tokens
            do not fit into the model's context.
    """
    if seed < 0:
        raise InvalidValueError("seed", "must be at least 0", seed)
    if max_tokens < 1:
        raise InvalidValueError("max_tokens", "must be at least 1", max_tokens)
    if not all(stop):
        raise InvalidValueError("stop", "must hold strings that are not empty", list(stop))
    whole_prompt = (1_000_000, 1_000_000)  # more tokens than any prompt has: all of them are used
    config = replace(env, prompts=[prompt], prompt_tokens=whole_prompt, max_episode_steps=max_tokens)
    vector_env = config.make(1, autoreset_mode="Disabled")
    try:
        agent = agent.copy()  # another thread may run it on an episode of its own
        agent.start(vector_env, seed)
        observations, _ = vector_env.reset(seed=seed)
        decode = vector_env.bundle.tokenizer.decode
        prompt_text = text = decode(vector_env.token_ids()[0], skip_special_tokens=True)
        is_over = False
        while not is_over:
            gates, observations, _, terminations, truncations, infos = agent.step(vector_env, observations)
            is_over = bool(terminations[0] or truncations[0])
            longer = decode(vector_env.token_ids()[0], skip_special_tokens=True)
            # The replacement character stands for bytes that the next tokens complete.
            if longer.endswith("\ufffd") and not is_over:
                longer = text
            piece, text = longer[len(text) :], longer
            yield GeneratedToken(
                token_id=int(infos["token"][0]),
                text=piece,
                gates=tuple(np.asarray(gates)[0].tolist()),
                temperature=float(infos["temperature"][0]),
                penalty=float(infos["penalty"][0]),
                entropy=float(infos["entropy"][0]),
                log_prob=float(infos["log_prob"][0]),
            )
            is_over = is_over or any(string in text[len(prompt_text) :] for string in stop)
    finally:
        vector_env.close()


class GatedGeneration:
    """A decoding method for transformers: ``model.generate(**inputs, custom_generate=GatedGeneration(controller, H))``.

    The agent sees the observations, and the model the gates, that the environment would give; every row of the batch
    is a generation of its own. Length and end come from the generation config and the stopping criteria as usual; how
    tokens are drawn is the modulation's business, so ``temperature``, ``top_k``, ``top_p`` and logits processors have
    no effect. Returns the token ids (N, P + T), prompts included, like ``generate``.

    ``generate`` also takes ``uniforms`` (N, T in [0, 1)), the random numbers to draw with; by default they come from
    torch's global generator, as for ordinary sampling.

    Args:
        agent: sets the gates from observations alone.
        human_entropy: H*, the model's mean entropy on human text [nats], above 0:
            ``ReferenceStatistics.load(path).human_entropy``.
        modulation: what the gates do, or the fields that differ from the defaults.
    """

    def __init__(
        self, agent: Agent, human_entropy: float, modulation: ModulationConfig | Mapping[str, Any] | None = None
    ) -> None:
        if not human_entropy > 0:
            raise InvalidValueError("human_entropy", "must be above 0 nats", human_entropy)
        self.agent = agent
        self.human_entropy = human_entropy
        self.modulation = settings_from(ModulationConfig, "modulation", modulation)

    @torch.no_grad()
    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        *,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        uniforms: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Continue prompts (N, P), left-padded where the attention mask (N, P) is 0. Called by ``generate``."""
        num_rows, prompt_length = input_ids.shape
        context_length = context_length_of(model)
        if generation_config.max_length > context_length:
            rule = f"must be at most {context_length - prompt_length} for this prompt in the model's context"
            raise InvalidValueError("max_new_tokens", rule, generation_config.max_length - prompt_length)
        limit = generation_config.max_length - prompt_length
        if uniforms is None:
            uniforms = torch.rand(num_rows, limit, device=input_ids.device)
        # Not an argument of its own: `generate` would then pass it twice.
        generation = self._begin(model, input_ids, kwargs.get("attention_mask"), limit)
        is_done = torch.zeros(num_rows, dtype=torch.bool, device=input_ids.device)
        for step in range(limit):
            chosen = require_gates(self.agent.act(generation.observe().cpu().numpy()), (num_rows, len(NEUTRAL_ACTION)))
            gates = torch.as_tensor(chosen, dtype=generation.dtype, device=generation.device)
            q, _ = generation.propose(gates)
            tokens = draw(q, uniforms[:, step].to(gates))
            generation.accept(gates, generation.outcome(tokens[:, None], q))
            if generation_config._pad_token_tensor is not None:
                tokens = torch.where(is_done, generation_config._pad_token_tensor, tokens)
            input_ids = torch.cat((input_ids, tokens[:, None]), dim=1)
            is_done = is_done | stopping_criteria(input_ids, None)
            if is_done.all():
                break
        return input_ids

    def _begin(self, model: PreTrainedModel, input_ids: Tensor, mask: Tensor | None, limit: int) -> Generation:
        num_rows, width = input_ids.shape
        generation = Generation(
            model,
            num_rows,
            width + limit,
            step_limit=limit,
            context_length=context_length_of(model),
            modulation=self.modulation,
            human_entropy=self.human_entropy,
        )
        if mask is None:
            mask = torch.ones_like(input_ids)
        lengths = mask.sum(dim=1)
        # Left-padded to right-padded: a stable sort by "is padding".
        order = mask.bool().logical_not().to(torch.int8).argsort(dim=1, stable=True)
        prompts = input_ids.gather(1, order)  # (N, P)
        # What the tokenizer puts before a text is no part of it.
        prefix_lengths = ((prompts[:, 0] == text_config(model).bos_token_id) & (lengths > 1)).long()
        generation.begin(torch.arange(num_rows, device=input_ids.device), prompts, lengths, prefix_lengths)
        return generation
