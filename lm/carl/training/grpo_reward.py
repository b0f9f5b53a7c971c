"""The CARL reward as a reward function of TRL's GRPOTrainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lm.carl.options import CarlWeights, Composite
from lm.carl.phases import PhaseAdaptiveWeights
from lm.carl.reward import carl_reward
from lm.carl.training.prompt_groups import Prompt, flat_groups, group_numbers
from lm.errors import InvalidValueError
from lm.model_names import resolve
from lm.models.bundle import DTYPES, load_model
from lm.models.model_cache import ModelCache, content_key
from lm.models.text_config import text_config, vocab_size_of
from lm.tokenizers.tokenization import load_tokenizer, refusing_unknown_text


class CarlGRPOReward:
    """TRL reward function: CARL reward of completions under a frozen judge model.

    Each call makes one batched forward pass. The judge is given by name and loaded once per process, so that the
    function can be pickled. It should be the initial model or a better one: a model that judges itself learns
    overconfidence. Completions of equal prompts form a group; copies within a group have no novelty.

    Called by TRL as ``f(prompts=, completions=, completion_ids=, trainer_state=, log_extra=, log_metric=, **columns)``.
    Returns a float for each completion, and None for an empty one, which TRL ignores. Logs the means of all components
    as ``carl/<name>``, and the share of groups with equal rewards as ``carl/flat_groups``. Errors stop the training.

    Args:
        judge: a bundled name, a folder or a hub id; completions must be of its tokenizer's vocabulary.
        composite: formula that combines the scores.
        weights: weights of the three scores, constant or phase-adaptive.
        dtype: data type of the judge: ``"float32"``, ``"bfloat16"`` or ``"float64"``.
        device: torch device of the judge.
    """

    __name__ = "carl"  # what TRL calls it in its logs

    def __init__(
        self,
        judge: str = "tidal-tiny",
        *,
        composite: Composite = "corrected",
        weights: CarlWeights | PhaseAdaptiveWeights | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        if dtype not in DTYPES:
            raise InvalidValueError("dtype", f"must be one of {', '.join(DTYPES)}", repr(dtype))
        self.judge = judge
        self.composite = composite
        self.weights = weights
        self.dtype = dtype
        self.device = device

    def load_judge(self) -> None:
        """Load the judge, which the first call does otherwise.

        Raises:
            ModelFolderError: it cannot be loaded.
        """
        _load_judge(self.judge, self.dtype, self.device)

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        *,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """The rewards of B completions, with B prompts (text or messages) and the ids of B completions.

        Raises:
            InvalidValueError: an id outside the judge's vocabulary, or a text longer than its context.
        """
        model, tokenizer = _load_judge(self.judge, self.dtype, self.device)
        rewards: list[float | None] = [None] * len(completion_ids)
        scored = [row for row, ids in enumerate(completion_ids) if len(ids) > 0]
        if not scored:
            return rewards
        encoded = prompt_ids(tokenizer, prompts)
        texts = [[*encoded[row], *completion_ids[row]] for row in scored]
        ids, is_completion = _padded(texts, [len(encoded[row]) for row in scored], model)
        with torch.inference_mode():
            # Padding stands on the right, where causal attention hides it from the text.
            logits = model(input_ids=ids, use_cache=False).logits
        groups = group_numbers([prompts[row] for row in scored]).to(ids.device)
        values, components = carl_reward(
            logits, ids, mask=is_completion, groups=groups, composite=self.composite, weights=self.weights
        )
        for row, value in zip(scored, values.tolist(), strict=True):
            rewards[row] = value
        if log_metric is not None:
            for name, numbers in components.items():
                log_metric(f"carl/{name}", float(numbers.mean()))
            log_metric("carl/flat_groups", flat_groups(rewards, prompts))
        return rewards


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Token ids of prompts, as TRL's GRPOTrainer gives them to the policy."""
    with refusing_unknown_text():
        if isinstance(prompts[0], str):
            return tokenizer(list(prompts))["input_ids"]
        return tokenizer.apply_chat_template(list(prompts), add_generation_prompt=True, return_dict=True)["input_ids"]


def _load_judge(name: str, dtype: str, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    source = resolve(name)
    key = (content_key(source), dtype, device)
    return _judges.get(key, lambda: (load_model(source, DTYPES[dtype], device), load_tokenizer(source)))


_judges: ModelCache[tuple[PreTrainedModel, PreTrainedTokenizerBase]] = ModelCache()


def _padded(texts: list[list[int]], prompt_lengths: list[int], model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Texts (B, T), right-padded, and the mask (B, T) of their completions."""
    context = getattr(text_config(model), "max_position_embeddings", None)
    longest = max(map(len, texts))
    if context is not None and longest > context:
        rule = f"must fit with their prompts into the {context} tokens of the judge's context"
        raise InvalidValueError("completions", rule, f"{longest} tokens")
    vocab_size = vocab_size_of(model)
    ids = torch.zeros(len(texts), longest, dtype=torch.int64)
    is_completion = torch.zeros(len(texts), longest, dtype=torch.bool)
    for row, (text, start) in enumerate(zip(texts, prompt_lengths, strict=True)):
        ids[row, : len(text)] = torch.tensor(text)
        is_completion[row, start : len(text)] = True
    if int(ids.max()) >= vocab_size:  # before the embedding, which would fail without a name
        rule = f"must lie in the judge's vocabulary, 0 to {vocab_size - 1}"
        raise InvalidValueError("completion_ids", rule, int(ids.max()))
    return ids.to(model.device), is_completion.to(model.device)
