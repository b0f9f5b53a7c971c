"""Training data: documents from files or the hub, a cache of their tokens on disk, and windows of tokens."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from lm.data.text_files import TEXT_SUFFIXES, format_of, lines_of, read_text, require_text, rows_of, texts_of
from lm.errors import InvalidValueError
from lm.paths import user_path
from lm.runs.whole_folder import write_whole_folder
from lm.tokenizers.tokenization import END_OF_TEXT, beginning_of_text_id, plain_ids

_READING = 2
"""Version of reading and tokenisation; part of the cache's key."""


def read_documents(
    source: str | Path,
    *,
    text_field: str = "text",
    split: str = "train",
    parameters: tuple[str, str] = ("source", "text_field"),
) -> Iterator[str]:
    """Yields the documents of a data source, stripped of white space; skips empty documents.

    Args:
        source: a ``.txt`` file (documents separated by a line ``<|endoftext|>``), a ``.jsonl``, ``.json`` or
            ``.parquet`` file (one document per row; null is skipped), one of the first three as ``.gz``, or a dataset
            id on the hub.
        text_field: column with the text, for all sources but ``.txt``.
        split: split of a hub dataset.
        parameters: names of `source` and `text_field` in error messages.

    Raises:
        InvalidValueError: the file does not exist, has another format or is not UTF-8, or a row has no text in
            `text_field`; names the line or row. Errors in the content are raised while documents are read.
    """
    suffix = format_of(source, parameters[0])
    if suffix in TEXT_SUFFIXES:
        texts: Iterable[str] = _separated(read_text(source, parameters[0]))
    else:
        texts = texts_of(rows_of(source, split, parameters[0]), text_field, parameters)
    for text in texts:
        if document := text.strip():
            yield document


def require_documents(source: str | Path, **options: Any) -> None:
    """Reads all documents of a file to validate them, with the options of :func:`read_documents`.

    A dataset on the hub is not read here.

    Raises:
        InvalidValueError: a document is invalid, or there is none.
    """
    parameter = options.get("parameters", ("source",))[0]
    if format_of(source, parameter) is not None and not sum(1 for _ in read_documents(source, **options)):
        raise InvalidValueError(parameter, "must hold at least one document that is not empty", source)


def _separated(text: str) -> Iterator[str]:
    document: list[str] = []
    for line in [*lines_of(text), END_OF_TEXT]:
        if line.strip() == END_OF_TEXT:
            yield "\n".join(document)
            document = []
        else:
            document.append(line)


@dataclass(frozen=True)
class TokenStream:
    """Tokenised documents in one array, each after a beginning-of-text token; another one follows the last document."""

    tokens: NDArray[np.integer]
    """(M,) token ids, uint16 where the vocabulary allows, else uint32; a memory map when it comes from the cache."""

    document_starts: NDArray[np.int64]
    """(K + 1,) index of each document's beginning-of-text token, and of the closing one."""

    document_bytes: NDArray[np.int64]
    """(K,) UTF-8 length of each document [bytes]."""

    @property
    def num_documents(self) -> int:
        """Number of documents K."""
        return len(self.document_bytes)

    def document(self, index: int) -> NDArray[np.int64]:
        """Token ids of one document with its beginning-of-text token."""
        return self.tokens[self.document_starts[index] : self.document_starts[index + 1]].astype(np.int64)

    def split(self, fraction: float, parameter: str = "fraction") -> tuple[TokenStream, TokenStream]:
        """Splits off the last `fraction` of the documents (at least one); returns the first part and the last.

        Raises:
            InvalidValueError: the first part would be empty; `parameter` is the fraction's name in the message.
        """
        first = self.num_documents - max(1, round(self.num_documents * fraction))
        if first < 1:
            raise InvalidValueError(parameter, f"must leave one of {self.num_documents} documents", fraction)
        start = self.document_starts[first]
        kept = TokenStream(self.tokens[: start + 1], self.document_starts[: first + 1], self.document_bytes[:first])
        cut = TokenStream(self.tokens[start:], self.document_starts[first:] - start, self.document_bytes[first:])
        return kept, cut


def tokenize_documents(documents: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> TokenStream:
    """Tokenises documents; special tokens in them are read as plain text.

    Raises:
        InvalidValueError: there is no document, or a document is no valid text.
    """
    beginning = beginning_of_text_id(tokenizer)
    dtype = np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32
    pieces: list[NDArray[np.integer]] = []
    starts, sizes, length = [], [], 0
    for batch in _batched(documents, 1024):
        for document in batch:
            require_text(document, "documents")
        for document, ids in zip(batch, plain_ids(tokenizer, batch), strict=True):
            starts.append(length)
            sizes.append(len(document.encode("utf-8")))
            pieces.append(np.array([beginning, *ids], dtype=dtype))
            length += len(ids) + 1
    if not pieces:
        raise InvalidValueError("documents", "must hold at least one that is not empty", 0)
    pieces.append(np.array([beginning], dtype=dtype))
    return TokenStream(np.concatenate(pieces), np.array([*starts, length], dtype=np.int64), np.array(sizes, np.int64))


def _batched(items: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    iterator = iter(items)  # itertools.batched needs Python 3.12
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch


def cached_token_stream(
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    cache_dir: str | Path,
    *,
    text_field: str = "text",
    split: str = "train",
    parameters: tuple[str, str] = ("source", "text_field"),
) -> TokenStream:
    """Tokenises a data source, or memory-maps its tokens from the cache.

    The cache's key is the source (with size and modification time of a file), the column, the split and the tokenizer.
    The cache is written to a temporary folder and renamed, so that a killed run leaves no incomplete cache.

    Raises:
        InvalidValueError: as in :func:`read_documents`.
    """
    path = user_path(source)
    is_file = format_of(source, parameters[0]) is not None
    version = (path.stat().st_size, path.stat().st_mtime_ns) if is_file else None
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    name = str(path.resolve()) if is_file else source
    key = json.dumps([_READING, name, version, text_field, split, vocabulary])
    folder = user_path(cache_dir) / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not folder.is_dir():
        documents = read_documents(source, text_field=text_field, split=split, parameters=parameters)
        stream = tokenize_documents(documents, tokenizer)
        with write_whole_folder(folder, replace=False) as partial:
            for name, array in vars(stream).items():
                np.save(partial / f"{name}.npy", array)
    return TokenStream(
        tokens=np.load(folder / "tokens.npy", mmap_mode="r"),
        document_starts=np.load(folder / "document_starts.npy"),
        document_bytes=np.load(folder / "document_bytes.npy"),
    )


class TokenWindows(Dataset):
    """Consecutive windows of T tokens of a stream, with a random offset for each epoch.

    Items are ``{"input_ids": (T,) int64}``. The offset depends on seed and epoch only: a resumed run gets the windows
    of an uninterrupted one if it calls :meth:`set_epoch` before its first epoch.
    """

    def __init__(self, stream: TokenStream, length: int, seed: int) -> None:
        if len(stream.tokens) < 2 * length:
            rule = f"must hold at least two windows of {length} tokens"
            raise InvalidValueError("stream", rule, f"{len(stream.tokens)} tokens")
        self.stream = stream
        self.length = length
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draws the offset of an epoch."""
        self.offset = int(np.random.default_rng((self.seed, epoch)).integers(self.length))

    def __len__(self) -> int:
        return len(self.stream.tokens) // self.length - 1  # minus one, for the offset

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        start = index * self.length + self.offset
        window = self.stream.tokens[start : start + self.length].astype(np.int64)
        return {"input_ids": torch.from_numpy(window)}
