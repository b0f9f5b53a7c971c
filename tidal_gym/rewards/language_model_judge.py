"""Judge by a second language model, in a decoding stream that reads all drawn tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lm.errors import InvalidValueError
from lm.models.bundle import Bundle, load_model_and_tokenizer
from lm.models.gated_transformer import GatedTransformer
from lm.models.text_config import context_length_of, vocab_size_of
from lm.runs.tensors.saved_state import joined
from lm.streams.opening import open_stream


class LanguageModelJudge:
    """Judge by a frozen causal LM, with one cached forward pass per token; see :class:`tidal_gym.rewards.judge.Judge`.

    Args:
        model: causal LM with the texts' vocabulary.
        num_rows: number of rows N.
        capacity: maximum number of tokens of a row.
    """

    def __init__(self, model: PreTrainedModel, num_rows: int, capacity: int) -> None:
        self.is_fixed = isinstance(model, GatedTransformer)
        self._stream = open_stream(model, num_rows, capacity)
        dtype = torch.promote_types(model.dtype, torch.float32)
        vocab_size = vocab_size_of(model)
        self.log_probs = torch.zeros(num_rows, vocab_size, dtype=dtype, device=model.device)
        """(N, V) log-probabilities of the next token [nats]."""

    def begin(self, rows: Tensor, prompts: Tensor, lengths: Tensor) -> None:
        """Reads the prompts (R, P) of the rows (R,)."""
        logits = self._stream.prefill(rows, prompts, lengths).newest.logits
        self.log_probs.index_copy_(0, rows, logits.log_softmax(dim=1))

    def copy_rows(self, other: LanguageModelJudge, rows: Tensor) -> None:
        """Copies rows (N,) of `other`."""
        places = torch.arange(len(rows), device=rows.device)
        self._stream.copy_rows(other._stream, places, other._stream.lengths[rows], rows)
        self.log_probs.copy_(other.log_probs[rows])

    def state(self) -> dict[str, Tensor]:
        """See :class:`tidal_gym.rewards.judge.Judge`."""
        return joined(stream=self._stream.state(), judge={"log_probs": self.log_probs})

    def advance(self, tokens: Tensor) -> None:
        """Reads one token (N,) in each row."""
        torch.log_softmax(self._stream.step(tokens).logits, dim=1, out=self.log_probs)


def open_language_model_judge(name: str, bundle: Bundle, num_rows: int, capacity: int) -> LanguageModelJudge:
    """Opens a judge for texts of a bundle's model in N rows of at most `capacity` tokens.

    Raises:
        ModelFolderError: the judge or its tokenizer is missing.
        InvalidValueError: the judge has another vocabulary or too short a context.
    """
    model = load_judge(name, bundle)
    context_length = context_length_of(model)
    if context_length < capacity:
        rule = f"must have a context of at least the {capacity} tokens of an episode"
        raise InvalidValueError("judge", rule, f"{name!r}, with {context_length}")
    return LanguageModelJudge(model, num_rows, capacity)


def load_judge(name: str, bundle: Bundle, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Loads a judge model with a bundle's vocabulary, on its device.

    Args:
        name: a bundled name, a folder or a hub id.
        bundle: bundle whose vocabulary and device the judge must have.
        dtype: data type; None: that of the bundle's model.

    Raises:
        ModelFolderError: the judge or its tokenizer is missing.
        InvalidValueError: the judge has another vocabulary.
    """
    model, tokenizer = load_model_and_tokenizer(name, dtype or bundle.model.dtype, str(bundle.model.device))
    vocab_size = vocab_size_of(model)
    if vocab_size != bundle.vocab_size or tokenizer.get_vocab() != bundle.tokenizer.get_vocab():
        rule = f"must be a model with the vocabulary of '{bundle.name}'"
        raise InvalidValueError("judge", rule, repr(name), "Train one with `tidal pretrain --data.tokenizer FOLDER`.")
    return model
