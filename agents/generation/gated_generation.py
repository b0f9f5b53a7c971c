"""Text generation with an agent that sets the gates: token by token, or inside ``model.generate``."""

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
from tidal_gym.dynamics.modulation import ModulationConfig
from tidal_gym.dynamics.sampling_distribution import draw
from tidal_gym.envs.generation import Generation
from tidal_gym.envs.text.token_pieces import GrowingText


def generate_tokens(
    agent: Agent, env: EnvConfig, prompt: str, *, max_tokens: int = 50, seed: int = 0,
    stop: str | Sequence[str] = (),
) -> Iterator[DrawnToken]:
    """Continues a prompt with the environment's single-row vector env; yields each token as it is drawn.

    Args:
        agent: agent that sets the gates.
        env: environment with model and modulation; its prompts and episode length are replaced.
        prompt: text to continue; the whole text is used.
        max_tokens: maximum number of tokens to draw, at least 1; also the episode length in the agent's observations.
        seed: seed of the sampling.
        stop: stop string or strings; the token that completes one is the last.

    Raises:
        InvalidValueError: the prompt or a stop string is empty, `max_tokens` is below 1, or prompt and new tokens do
            not fit into the model's context.
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
    whole_prompt = (1_000_000, 1_000_000)  # more tokens than any prompt has: the whole prompt is used
    config = replace(env, prompts=[prompt], prompt_tokens=whole_prompt, max_episode_steps=max_tokens)
    try:
        vector_env = config.make(1, autoreset_mode="Disabled")
    except InvalidValueError as error:
        if error.arguments[0] != "max_episode_steps":
            raise
        raise error.named("max_tokens") from error
    try:
        agent = agent.copy()  # another thread may use the agent in another episode
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

    Observations and gates are the same as in the environment; the rows of a batch are independent. Length, end of text,
    streamers, stop strings, stopping criteria, logits processors (applied to the gated logits before the modulation)
    and the other options of :data:`agents.generation.options.HONOURED` have their usual meaning in ``generate``. The
    modulation defines the sampling: ``temperature``, ``top_k``, ``num_beams`` and all other options raise an error, and
    those of the model's generation config are ignored. Returns token ids (N, P + T), prompts included, or a record of
    them (``return_dict_in_generate``).

    ``generate`` also takes ``uniforms`` (N, T) in [0, 1), the random numbers of the sampling; by default they come from
    torch's global generator.

    Args:
        agent: agent that sets the gates from observations only.
        human_entropy: H*, the model's mean entropy on human text [nats], above 0:
            ``ReferenceStatistics.load(path).human_entropy``.
        modulation: modulation, or its fields that differ from the defaults.
    """

    def __init__(
        self, agent: Agent, human_entropy: float, modulation: ModulationConfig | Mapping[str, Any] | None = None
    ) -> None:
        self.agent = agent
        self.human_entropy = require_number("human_entropy", human_entropy, above(0, 1e3))
        self.modulation = settings_from(ModulationConfig, "modulation", modulation)

    @property
    def __signature__(self) -> inspect.Signature:
        """Signature of the call, which ``generate`` inspects when it sorts its options."""
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
        """Continues prompts (N, P), left-padded where the attention mask (N, P) is 0. Called by ``generate``.

        Raises:
            InvalidValueError: an option is not supported, or the text does not fit into the model's context.
        """
        call = call_of_generate()
        streamer = call.get("streamer")
        try:
            require_honoured(model, generation_config, call)
            processors = kept_processors(logits_processor or LogitsProcessorList(), call)
            mask = kwargs.get("attention_mask")  # not a parameter, since `generate` would then pass it twice
            for input_ids in self._draw(  # noqa: B020 - the text so far
                model, input_ids, mask, processors, stopping_criteria, generation_config, uniforms
            ):
                if streamer is not None:
                    streamer.put(input_ids[:, -1].cpu())
        finally:
            if streamer is not None:  # otherwise the streamer's reader would wait forever
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
        """Yields the growing token ids (N, P + 1), (N, P + 2), ..."""
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
        # The tokenizer's special prefix is not part of the text.
        prefix_lengths = ((prompts[:, 0] == text_config(model).bos_token_id) & (lengths > 1)).long()
        generation.begin(torch.arange(num_rows, device=input_ids.device), prompts, lengths, prefix_lengths)
        return generation
