"""The gating environment on a random grammar, batched: see :class:`tidal_gym.rlm_env.TidalRLMEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.errors import InvalidValueError, ModelFolderError
from lm.rlm.grammar import RandomGrammar
from lm.rlm.inference import next_leaf_posterior
from lm.rlm.model_folder import load_grammar_of
from tidal_gym.judge import Judge
from tidal_gym.prompts import BUNDLED_OPENINGS, PromptSet
from tidal_gym.vector_env import TidalGatingVectorEnv


class TidalRLMVectorEnv(TidalGatingVectorEnv):
    """N sentences of a grammar being written, stepped together with one batched model.

    Args:
        num_envs: N, at least 1.
        model: a bundled name or a folder, with a grammar in it.
        prompts: "train" or "heldout", which are the same here: every sentence begins with nothing.
        reward: "judge", or any registered reward.
        max_episode_steps: most tokens that an episode draws; None, or more than the sentence has: the whole sentence.
        dtype: "auto" is float32 here, as the models are small.
        settings: as in :class:`tidal_gym.vector_env.TidalGatingVectorEnv`; `prompt_tokens` have no meaning.

    Raises:
        InvalidValueError: an argument breaks its rule.
        ModelFolderError: the model is missing, has no grammar, or was not trained to write its sentences.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        model: str = "rlm-tiny",
        prompts: str = "train",
        reward: str = "judge",
        max_episode_steps: int | None = None,
        dtype: str = "auto",
        **settings: Any,
    ) -> None:
        dtype = "float32" if dtype == "auto" else dtype
        grammar = load_grammar_of(model, torch.float64 if dtype == "float64" else torch.float32)
        self.grammar = grammar.to(settings.get("device", "cpu"))
        """Whose sentences are written."""
        length = grammar.sentence_length
        super().__init__(
            num_envs,
            model=model,
            prompts=prompts,
            reward=reward,
            max_episode_steps=length if max_episode_steps is None else min(max_episode_steps, length),
            dtype=dtype,
            **settings,
        )

    def _read_prompts(self, prompts: str | Sequence[str], lengths: Sequence[int]) -> PromptSet:
        if prompts not in BUNDLED_OPENINGS:
            rule = f"must be one of {', '.join(BUNDLED_OPENINGS)}: sentences of a grammar begin with nothing"
            raise InvalidValueError("prompts", rule, repr(prompts))
        beginning = self.bundle.tokenizer.bos_token_id
        if beginning != self.grammar.vocab_size or self.bundle.vocab_size != beginning + 1:
            raise ModelFolderError(
                f"The model '{self.bundle.name}' was not trained to write sentences: it has {self.bundle.vocab_size} "
                f"tokens for {self.grammar.vocab_size} symbols, and should have one more, which begins a sentence. "
                "Train it with `--examples.task next`."
            )
        return PromptSet(prefix=(), openings=((beginning,),), lengths=(1, 1))

    def _find_judge(self) -> Judge:
        return GrammarJudge(self.grammar)

    def _is_at_end(self, tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        return super()._is_at_end(tokens) | (self._steps >= self.grammar.sentence_length)


class GrammarJudge:
    """A judge that cannot be wrong: the exact posterior over the next symbol, after a token that begins the sentence.

    Args:
        grammar: of the sentences; on the device that the texts are on.
    """

    def __init__(self, grammar: RandomGrammar) -> None:
        self._grammar = grammar
        self._known: tuple[Tensor, Tensor, Tensor] | None = None
        """Leaves, lengths and answer of the last question, which a one-step oracle asks again for every action."""

    def log_probs(self, text: Tensor, lengths: Tensor) -> Tensor:
        """See :class:`tidal_gym.judge.Judge`; the beginning token, last in the vocabulary, never comes again."""
        length = self._grammar.sentence_length
        # What is not drawn yet may be any symbol, the posterior at a place does not see it; no place sees the last one.
        leaves = text[:, 1:length]
        leaves = torch.nn.functional.pad(leaves, (0, length - leaves.shape[1]))
        places = torch.arange(1, length + 1, device=text.device)
        leaves = torch.where(places < lengths[:, None], leaves, 0).clamp(max=self._grammar.vocab_size - 1)
        # To compare is to wait for the device, which a recording of a step on a GPU must not.
        is_on_cpu = text.device.type == "cpu"
        if is_on_cpu and self._known is not None:
            known_leaves, known_lengths, log_probs = self._known
            if torch.equal(known_leaves, leaves) and torch.equal(known_lengths, lengths):
                return log_probs
        # A row that idles between two episodes has more tokens than a sentence.
        place = (lengths - 1).clamp(max=length - 1)
        posterior = next_leaf_posterior(self._grammar.rules, leaves)  # (N, T, v)
        posterior = posterior.gather(1, place[:, None, None].expand(-1, 1, posterior.shape[2])).squeeze(1)
        log_probs = torch.nn.functional.pad(posterior.log(), (0, 1), value=-torch.inf)
        if is_on_cpu:
            self._known = leaves, lengths.clone(), log_probs
        return log_probs
