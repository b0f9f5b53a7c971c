"""Text from a language model whose gates an agent sets: token by token, or inside ``model.generate``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, StoppingCriteriaList
from transformers.generation import GenerateDecoderOnlyOutput

from agents.episodes.agent import Agent
from agents.episodes.drawn_tokens import DrawnToken, drawn_token
from agents.episodes.env_config import EnvConfig
from agents.generation.options import (
    call_of_generate,
    give_back_tokenizer,
    kept_processors,
    require_honoured,
    require_uniforms,
)
from lm.checks import COUNT, SEED, above, require_integer, require_number
from lm.errors import InvalidValueError
from lm.models.gate_names import NEUTRAL_GATES
from lm.models.text_config import context_length_of, text_config
from lm.settings import settings_from
from tidal_gym.dynamics.actions import require_gates
from tidal_gym.dynamics.modulation import ModulationConfig, draw
from tidal_gym.envs.generation import Generation
from tidal_gym.envs.token_pieces import GrowingText


def generate_tokens(
    agent: Agent, env: EnvConfig, prompt: str, *, max_tokens: int = 50, seed: int = 0,
    stop: str | Sequence[str] = (),
) -> Iterator[DrawnToken]:
    """Continue a prompt, and yield each token as it is drawn. The environment itself does it, with a single row.

    Args:
        agent: sets the gates.
        env: model and modulation; its prompts and episode length are replaced.
        prompt: text to continue, all of it.
        max_tokens: most tokens to draw, at least 1. It is also what an agent takes for the length of the episode.
        seed: of the draws.
        stop: a string, or several, that end the text; the token that completes one is the last.

    Raises:
        InvalidValueError: the prompt or a stop string is empty, no token is asked for, or prompt and new tokens
            do not fit into the model's context.
    """
    require_integer("seed", seed, SEED)
    require_integer("max_tokens", max_tokens, COUNT)
    if isinstance(stop, Mapping) or not isinstance(stop, Iterable):
        raise InvalidValueError("stop", "must be a string, or several", stop)
    stop = [stop] if isinstance(stop, str) else list(stop)
    if not all(isinstance(string, str) and string for string in stop):
        raise InvalidValueError("stop", "must hold strings that are not empty", stop)
    if not isinstance(prompt, str):
        raise InvalidValueError("prompt", "must be a string", repr(prompt))
    whole_prompt = (1_000_000, 1_000_000)  # more tokens than any prompt has: all of them are used
    config = replace(env, prompts=[prompt], prompt_tokens=whole_prompt, max_episode_steps=max_tokens)
    try:
        vector_env = config.make(1, autoreset_mode="Disabled")
    except InvalidValueError as error:
        if error.arguments[0] != "max_episode_steps":
            raise
        raise error.named("max_tokens") from error
    try:
        agent = agent.copy()  # another thread may run it on an episode of its own
        agent.start(vector_env, seed)
        observations, _ = vector_env.reset(seed=seed)
        growing = GrowingText(vector_env.bundle.tokenizer, vector_env.token_ids()[0], skip_special_tokens=True)
        prompt_length = len(growing.text)
        is_over = False
        while not is_over:
            gates, observations, rewards, terminations, truncations, infos = agent.step(vector_env, observations)
            is_over = bool(terminations[0] or truncations[0])
            of_row = {name: column[0] for name, column in infos.items()}
            token_id = int(of_row["token"])
            piece = growing.add(token_id, is_last=is_over)
            yield drawn_token(token_id, piece, np.asarray(gates)[0], rewards[0], of_row)
            is_over = is_over or any(string in growing.text[prompt_length:] for string in stop)
    finally:
        vector_env.close()


class GatedGeneration:
    """A decoding method for transformers: ``model.generate(**inputs, custom_generate=GatedGeneration(controller, H))``.

    The agent sees the observations, and the model the gates, that the environment would give; every row of the batch
    is a generation of its own. Length, end, streamers, stop strings, stopping criteria, logits processors (applied to
    the gated logits before the modulation) and the other options of :data:`agents.generation.options.HONOURED` mean
    what they mean elsewhere in ``generate``. How tokens are drawn is the modulation's business: ``temperature``,
    ``top_k``, ``num_beams`` and all other options are refused, and what the model's own generation config says of
    them does not apply. Returns the token ids (N, P + T), prompts included, or a record of them
    (``return_dict_in_generate``).

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
        self.agent = agent
        self.human_entropy = require_number("human_entropy", human_entropy, above(0, 1e3))
        self.modulation = settings_from(ModulationConfig, "modulation", modulation)

    @property
    def __signature__(self) -> inspect.Signature:
        """Of the call; ``generate`` asks for it while it sorts its options."""
        give_back_tokenizer()
        return inspect.signature(self.__call__)

    @torch.no_grad()
    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        *,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        logits_processor: LogitsProcessorList | None = None,
        uniforms: Tensor | None = None,
        tokenizer: object = None,
        **kwargs: Any,
    ) -> Tensor | GenerateDecoderOnlyOutput:
        """Continue prompts (N, P), left-padded where the attention mask (N, P) is 0. Called by ``generate``.

        Raises:
            InvalidValueError: an option that is not honoured, or text that does not fit into the model's context.
        """
        call = call_of_generate()
        streamer = call.get("streamer")
        try:
            require_honoured(model, generation_config, call)
            processors = kept_processors(logits_processor or LogitsProcessorList(), call)
            mask = kwargs.get("attention_mask")  # no argument of its own: `generate` would then pass it twice
            for input_ids in self._draw(  # noqa: B020 - the text so far
                model, input_ids, mask, processors, stopping_criteria, generation_config, uniforms
            ):
                if streamer is not None:
                    streamer.put(input_ids[:, -1].cpu())
        finally:
            if streamer is not None:  # its reader would wait for ever
                streamer.end()
        if generation_config.return_dict_in_generate:
            return GenerateDecoderOnlyOutput(sequences=input_ids)
        return input_ids

    def _draw(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        mask: Tensor | None,
        processors: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        uniforms: Tensor | None,
    ) -> Iterator[Tensor]:
        """The texts (N, P + 1), (N, P + 2), ... as they grow."""
        num_rows, prompt_length = input_ids.shape
        context_length = context_length_of(model)
        if generation_config.max_length > context_length:
            rule = f"must be at most {context_length - prompt_length} for this prompt in the model's context"
            raise InvalidValueError("max_new_tokens", rule, generation_config.max_length - prompt_length)
        limit = generation_config.max_length - prompt_length
        if uniforms is None:
            uniforms = torch.rand(num_rows, limit, device=input_ids.device, dtype=torch.float32)
        require_uniforms(uniforms, num_rows, limit)
        generation = self._begin(model, input_ids, mask, limit)
        is_done = torch.zeros(num_rows, dtype=torch.bool, device=input_ids.device)
        for step in range(limit):
            chosen = require_gates(self.agent.act(generation.observe().cpu().numpy()), (num_rows, len(NEUTRAL_GATES)))
            gates = torch.as_tensor(chosen, dtype=generation.dtype, device=generation.device)
            q, _ = generation.propose(gates, partial(processors, input_ids))
            tokens = draw(q, uniforms[:, step].to(gates))
            generation.accept(gates, generation.outcome(tokens[:, None], q))
            if generation_config._pad_token_tensor is not None:
                tokens = torch.where(is_done, generation_config._pad_token_tensor, tokens)
            input_ids = torch.cat((input_ids, tokens[:, None]), dim=1)
            is_done = is_done | stopping_criteria(input_ids, None)
            yield input_ids
            if is_done.all():
                break

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
