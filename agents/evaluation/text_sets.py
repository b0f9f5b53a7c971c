"""Sets of texts to compare: prompts with continuations, from episodes or human documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from agents.episodes.episodes import Episodes
from lm.data.documents import read_documents
from lm.errors import InvalidValueError
from lm.tokenizers.tokenization import beginning_of_text_id, plain_ids

BUNDLED_HUMAN_TEXT = Path(__file__).parent / "human_text" / "tinystories.txt"
"""Bundled human text: beginnings of stories that are not in the training data of tidal-tiny and tidal-judge."""


@dataclass(frozen=True)
class TextSet:
    """A set of T texts, each a prompt and a continuation."""

    prompts: tuple[tuple[int, ...], ...]
    """Token ids of each prompt, special prefix included; at least one."""
    continuations: tuple[tuple[int, ...], ...]
    """Token ids of each continuation, without end of text; the measured part."""

    @classmethod
    def of_episodes(cls, episodes: Episodes, eos_token_id: int | None) -> TextSet:
        """Texts of episodes, without a final end-of-text token."""
        texts = [ids[:length].tolist() for ids, length in zip(episodes.tokens, episodes.lengths, strict=True)]
        return cls(episodes.prompts, tuple(tuple(ids[:-1] if ids[-1] == eos_token_id else ids) for ids in texts))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(T,) length of each continuation [tokens]."""
        return np.array([len(text) for text in self.continuations], np.int64)


def human_texts(like: TextSet, tokenizer: PreTrainedTokenizerBase, source: str | None = None) -> TextSet:
    """Human texts with the lengths of given texts: text i is the beginning of document i, split as text i.

    Args:
        like: texts that give the lengths.
        tokenizer: tokenizer of both sets.
        source: source as for :func:`lm.data.documents.read_documents`; None: bundled beginnings of stories. Documents
            shorter than the longest text are skipped.

    Raises:
        InvalidValueError: there are too few documents of sufficient length.
    """
    beginning = beginning_of_text_id(tokenizer)
    sizes = [
        (len(prompt) - (prompt[0] == beginning), len(text))
        for prompt, text in zip(like.prompts, like.continuations, strict=True)
    ]
    longest = max(map(sum, sizes))
    documents = list(read_documents(source or BUNDLED_HUMAN_TEXT, parameters=("human", "text")))
    encoded = plain_ids(tokenizer, documents)
    stories = [ids for ids in encoded if len(ids) >= longest]
    if len(stories) < len(sizes):
        rule = f"must hold {len(sizes)} documents of at least {longest} tokens, as many and as long as the texts"
        raise InvalidValueError("human", rule, f"{source or 'the bundled text'}, with {len(stories)}")
    pairs = list(zip(stories, sizes, strict=False))
    return TextSet(
        prompts=tuple((beginning, *ids[:prompt]) for ids, (prompt, _) in pairs),
        continuations=tuple(tuple(ids[prompt : prompt + length]) for ids, (prompt, length) in pairs),
    )
