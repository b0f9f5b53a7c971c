"""Prompts of episodes: openings from a bundled file, a file or a list, tokenised once, and their sampling."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from lm.data.text_files import ROW_SUFFIXES, lines_of, read_text, require_text
from lm.errors import InvalidValueError
from lm.paths import user_path
from lm.tokenizers.tokenization import refusing_unknown_text

BUNDLED_OPENINGS = ("train", "heldout")


class PromptBatch(NamedTuple):
    """Text tokens of R prompts."""

    tokens: NDArray[np.int64]
    """(R, P) token ids, right-padded with 0."""
    lengths: NDArray[np.int64]
    """(R,) length of each prompt [tokens], at least 1."""


@dataclass(frozen=True)
class PromptSet:
    """Tokenised openings; an episode's prompt is the first tokens of one."""

    prefix: tuple[int, ...]
    """Special tokens that the tokenizer puts before each text; always included, and not part of the text."""

    openings: tuple[tuple[int, ...], ...]
    """Text tokens of each opening, cut to the maximum length."""

    lengths: tuple[int, int]
    """Minimum and maximum number of text tokens of a prompt."""

    @property
    def longest(self) -> int:
        """Length of the longest possible prompt, prefix included [tokens]."""
        return len(self.prefix) + max(len(opening) for opening in self.openings)

    def draw(self, generator: np.random.Generator) -> tuple[int, ...]:
        """Draws the text tokens of a prompt: a uniform opening and a uniform number of its tokens, at most all."""
        opening = self.openings[generator.integers(len(self.openings))]
        fewest, most = self.lengths
        return opening[: generator.integers(fewest, most + 1)]

    def draw_batch(self, generators: Sequence[np.random.Generator]) -> PromptBatch:
        """Draws one prompt with each of R generators."""
        texts = [self.draw(generator) for generator in generators]
        lengths = np.array([len(text) for text in texts])
        tokens = np.zeros((len(texts), lengths.max()), np.int64)
        for row, text in enumerate(texts):
            tokens[row, : len(text)] = text
        return PromptBatch(tokens, lengths)


def read_openings(source: str | Sequence[str]) -> list[str]:
    """Reads openings.

    Args:
        source: ``"train"`` or ``"heldout"`` (bundled with the package), the path of a UTF-8 text file (or a ``.gz`` of
            one) with one opening per line, or a list of openings. Openings are used unchanged, lines without their line
            breaks; empty lines are skipped.

    Raises:
        InvalidValueError: the file does not exist, is not UTF-8 text, or contains no opening; or an opening is empty.
    """
    if isinstance(source, (str, Path)):
        texts = [line for line in lines_of(_file_text(source)) if line.strip()]
    else:
        if not isinstance(source, Sequence) or not all(isinstance(text, str) for text in source):
            raise InvalidValueError("prompts", "must be a name, a path or a list of strings", repr(source))
        texts = [require_text(text, "prompts", f"entry {place}") for place, text in enumerate(source, start=1)]
        if "" in texts:
            raise InvalidValueError("prompts", "must hold text", f"'' in entry {texts.index('') + 1}")
    if not texts:
        where = source if isinstance(source, (str, Path)) else "an empty list"
        raise InvalidValueError("prompts", "must hold at least one opening", where)
    return texts


def tokenize_openings(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    lengths: Sequence[int] = (3, 10),
    context_length: int,
) -> PromptSet:
    """Tokenises openings.

    Args:
        texts: at least one opening.
        tokenizer: tokenizer of the model.
        lengths: minimum and maximum number of text tokens of a prompt.
        context_length: context length of the model [tokens].

    Raises:
        InvalidValueError: `lengths` is not an ascending pair of at least 1, or an opening has no token or does not fit
            into the context.
        ModelFolderError: the tokenizer has no token for a part of an opening.
    """
    fewest, most = _require_lengths(lengths)
    prefix: tuple[int, ...] = ()
    openings = []
    for number, text in enumerate(texts, start=1):
        # Special tokens that a text spells are plain text; those of the mask stand around it.
        with refusing_unknown_text():
            encoding = tokenizer(text, return_special_tokens_mask=True, split_special_tokens=True)
        ids, is_special = encoding["input_ids"], encoding["special_tokens_mask"]
        start = is_special.index(0) if 0 in is_special else len(ids)
        tokens = tuple(token for token, special in zip(ids[start:], is_special[start:], strict=True) if not special)
        if not tokens:
            raise InvalidValueError("prompts", "must hold text that the tokenizer knows", f"opening {number}, {text!r}")
        if start + len(tokens) >= context_length:
            raise InvalidValueError(
                "prompts",
                f"must be shorter than the model's context of {context_length} tokens",
                f"{start + len(tokens)} tokens in opening {number}, {text[:40]!r}",
            )
        prefix = tuple(ids[:start])
        openings.append(tokens[:most])
    return PromptSet(prefix=prefix, openings=tuple(openings), lengths=(fewest, most))


def _file_text(source: str | Path) -> str:
    if source in BUNDLED_OPENINGS:
        bundled = importlib.resources.files("tidal_gym.envs.text").joinpath("openings", f"{source}.txt")
        return bundled.read_text(encoding="utf-8")
    path = user_path(source)
    is_readable = os.path.exists(path) and not os.path.isdir(path)  # these raise nothing for names that cannot be
    if not is_readable or path.name.lower().endswith(ROW_SUFFIXES):
        rule = f"must be one of {', '.join(BUNDLED_OPENINGS)}, a list of strings or a text file with one opening a line"
        held = "a folder" if os.path.isdir(path) else "a file of rows" if is_readable else "No such file"
        raise InvalidValueError("prompts", rule, f"{str(source)!r} ({held})")
    return read_text(source, "prompts")


def _require_lengths(lengths: Sequence[int]) -> tuple[int, int]:
    is_pair = not isinstance(lengths, (str, int)) and len(lengths) == 2
    if not is_pair or not all(isinstance(length, int) for length in lengths) or not 1 <= lengths[0] <= lengths[1]:
        raise InvalidValueError("prompt_tokens", "must be a pair, fewest and most tokens, from 1 up", repr(lengths))
    fewest, most = lengths
    return fewest, most
