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
        **settings: Any,
    ) -> None:
        is_double = settings.get("dtype") == "float64"
        grammar = load_grammar_of(model, torch.float64 if is_double else torch.float32)
        self.grammar = grammar.to(settings.get("device", "cpu"))
        """Whose sentences are written."""
        length = grammar.sentence_length
        super().__init__(
            num_envs,
            model=model,
            prompts=prompts,
            reward=reward,
            max_episode_steps=length if max_episode_steps is None else min(max_episode_steps, length),
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
        is_whole = self._generation.history.lengths.cpu().numpy() > self.grammar.sentence_length
        return super()._is_at_end(tokens) | is_whole


class GrammarJudge:
    """A judge that cannot be wrong: the exact posterior over the next symbol, after a token that begins the sentence.

    Args:
        grammar: of the sentences; on the device that the texts are on.
    """

    def __init__(self, grammar: RandomGrammar) -> None:
        self._grammar = grammar
        self._known: tuple[Tensor, Tensor] | None = None

    def log_probs(self, text: Tensor, lengths: Tensor) -> Tensor:
        """See :class:`tidal_gym.judge.Judge`; the beginning token, last in the vocabulary, never comes again."""
        grammar = self._grammar
        places = torch.arange(1, grammar.sentence_length, device=text.device)
        # What is not drawn yet may be any symbol: the posterior at a place does not see it.
        leaves = torch.where(places < lengths[:, None], text[:, 1 : grammar.sentence_length], 0)
        asked = torch.cat((leaves, lengths[:, None]), dim=1)
        if self._known is None or not torch.equal(asked, self._known[0]):
            sentences = torch.nn.functional.pad(leaves.clamp(max=grammar.vocab_size - 1), (0, 1))
            rows = torch.arange(len(text), device=text.device)
            # A row that idles between two episodes has more tokens than a sentence.
            place = (lengths - 1).clamp(max=grammar.sentence_length - 1)
            log_probs = grammar.next_token_posterior(sentences)[rows, place].log()
            self._known = asked, torch.nn.functional.pad(log_probs, (0, 1), value=-torch.inf)
        return self._known[1]
