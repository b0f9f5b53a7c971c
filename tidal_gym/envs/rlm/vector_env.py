"""The vector environment of `TidalRLM-v0` on a random grammar: see :class:`tidal_gym.envs.rlm.env.TidalRLMEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor

from lm.checks import COUNT, require_integer, require_text
from lm.device import require_device
from lm.errors import InvalidValueError, ModelFolderError
from lm.rlm.grammar import RandomGrammar
from lm.rlm.inference import next_leaf_posterior
from lm.rlm.model_folder import load_grammar_of
from tidal_gym.envs.text.prompts import BUNDLED_OPENINGS, PromptSet
from tidal_gym.envs.vector_env import TidalGatingVectorEnv
from tidal_gym.rewards.judge import Judge


class TidalRLMVectorEnv(TidalGatingVectorEnv):
    """Vector environment of N sentences of a random grammar, stepped with one batched model.

    Args:
        num_envs: number of rows N, at least 1.
        model: bundled name or folder of a model with a grammar.
        prompts: "train" or "heldout"; both are empty prompts.
        reward: "judge", or another registered reward.
        judge: name of a judge model; None: the grammar.
        max_episode_steps: maximum number of drawn tokens of an episode, at most those of a sentence; None: a sentence.
        dtype: data type of the model; "auto" is float32.
        autoreset_mode: as in :class:`tidal_gym.envs.vector_env.TidalGatingVectorEnv`.
        settings: other arguments of :class:`tidal_gym.envs.vector_env.TidalGatingVectorEnv`; `prompt_tokens` is unused.

    Raises:
        InvalidValueError: an argument is invalid.
        ModelFolderError: the model is missing, has no grammar, or was not trained to generate its sentences.
    """

    def __init__(
        self,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        *,
        model: str = "rlm-tiny",
        prompts: str = "train",
        reward: str = "judge",
        max_episode_steps: int | None = None,
        dtype: str = "auto",
        **settings: Any,
    ) -> None:
        dtype = "float32" if dtype == "auto" else dtype
        require_text("model", model)
        if max_episode_steps is not None:
            require_integer("max_episode_steps", max_episode_steps, COUNT)
        grammar = load_grammar_of(model, torch.float64 if dtype == "float64" else torch.float32)
        self.grammar = grammar.to(require_device(settings.get("device", "cpu")))
        """Grammar of the sentences."""
        length = grammar.sentence_length
        super().__init__(
            num_envs,
            autoreset_mode,
            model=model,
            prompts=prompts,
            reward=reward,
            max_episode_steps=length if max_episode_steps is None else min(max_episode_steps, length),
            dtype=dtype,
            **settings,
        )

    def _read_prompts(self, prompts: str | Sequence[str], lengths: Sequence[int]) -> PromptSet:
        if prompts not in BUNDLED_OPENINGS:
            rule = f"must be one of {', '.join(BUNDLED_OPENINGS)}: sentences of a grammar have empty prompts"
            raise InvalidValueError("prompts", rule, repr(prompts))
        beginning = self.bundle.tokenizer.bos_token_id
        if beginning != self.grammar.vocab_size or self.bundle.vocab_size != beginning + 1:
            raise ModelFolderError(
                f"The model '{self.bundle.name}' was not trained to generate sentences: it has "
                f"{self.bundle.vocab_size} tokens for {self.grammar.vocab_size} symbols, and should have one more, "
                "which begins a sentence. "
                "Train it with `--examples.task next`."
            )
        return PromptSet(prefix=(), openings=((beginning,),), lengths=(1, 1))

    def _open_judge(self, name: str | None, reward: str) -> Judge | None:
        return GrammarJudge(self.grammar, self.num_envs) if name is None else super()._open_judge(name, reward)

    def _is_at_end(self, tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        return super()._is_at_end(tokens) | (self.episodes.steps >= self.grammar.sentence_length)


class GrammarJudge:
    """Judge by the grammar's exact posterior over the next symbol; see :class:`tidal_gym.rewards.judge.Judge`.

    Args:
        grammar: grammar of the sentences, on the device of the texts.
        num_rows: number of rows N.
    """

    is_fixed = True

    def __init__(self, grammar: RandomGrammar, num_rows: int) -> None:
        rules = grammar.rules
        self._rules, self._vocab_size = rules, grammar.vocab_size
        # Symbols that are not drawn yet may have any value: the posterior does not depend on them.
        self._leaves = torch.zeros(num_rows, grammar.sentence_length, dtype=torch.int64, device=rules.device)
        self._places = torch.zeros(num_rows, 1, dtype=torch.int64, device=rules.device)
        self.log_probs = rules.new_full((num_rows, grammar.vocab_size + 1), -torch.inf)
        """(N, v + 1) log-probabilities; −inf for the last token, which begins a sentence."""

    def begin(self, rows: Tensor, prompts: Tensor, lengths: Tensor) -> None:
        """Resets rows; sentences have empty prompts."""
        self._places[rows] = 0
        self.log_probs[rows, :-1] = self._posterior(self._leaves[rows], self._places[rows])

    def copy_rows(self, other: GrammarJudge, rows: Tensor) -> None:
        """Copies rows (N,) of `other`."""
        for mine, theirs in zip(self.state().values(), other.state().values(), strict=True):
            mine.copy_(theirs[rows])

    def state(self) -> dict[str, Tensor]:
        """See :class:`tidal_gym.rewards.judge.Judge`."""
        return {"leaves": self._leaves, "places": self._places, "log_probs": self.log_probs}

    def advance(self, tokens: Tensor) -> None:
        """Reads one symbol (N,); rows that idle between two episodes stay at their last position."""
        self._leaves.scatter_(1, self._places, tokens.clamp(max=self._vocab_size - 1).unsqueeze(1))
        self._places.add_(1).clamp_(max=self._leaves.shape[1] - 1)
        self.log_probs[:, :-1] = self._posterior(self._leaves, self._places)

    def _posterior(self, leaves: Tensor, places: Tensor) -> Tensor:
        """log P (R, v) at positions (R, 1) of sentences (R, T)."""
        posterior = next_leaf_posterior(self._rules, leaves)  # (R, T, v)
        return posterior.gather(1, places.unsqueeze(2).expand(-1, 1, self._vocab_size)).squeeze(1).log()
