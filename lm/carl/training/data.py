"""The text that CARL training reads: documents to fine-tune on, and prompts to complete."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from lm.carl.training.config import CarlDataConfig
from lm.data.documents import read_documents
from lm.data.text_files import TEXT_SUFFIXES, Row, format_of, lines_of, require_text, rows_of, texts_of
from lm.errors import InvalidValueError
from lm.tokenizers.tokenization import plain_ids

if TYPE_CHECKING:
    from datasets import Dataset

_NAMES = ("data.source", "data.text_field")
_CONVERSATIONS = ("prompt", "messages")
"""Columns that are taken before one of text."""


def read_training_data(config: CarlDataConfig) -> Dataset:
    """A data set with a column of text, or of prompts or messages.

    Raises:
        InvalidValueError: the file does not exist or cannot be read, holds no document, has none of the columns, or a
            row that is not in order; names it.
    """
    import datasets
    import pyarrow

    limit = config.max_documents or None
    if format_of(config.source, _NAMES[0]) in TEXT_SUFFIXES:
        documents = read_documents(config.source, parameters=_NAMES)
        if config.by_line:
            documents = (line for document in documents for line in lines_of(document) if line.strip())
        rows: list[dict[str, Any]] = [{config.text_field: text} for text in itertools.islice(documents, limit)]
    else:
        rows = list(itertools.islice(_rows(rows_of(config.source, config.split, _NAMES[0]), config.text_field), limit))
    if not rows:
        raise InvalidValueError("data.source", "must hold at least one document that is not empty", config.source)
    try:
        return datasets.Dataset.from_list(rows)
    except (ValueError, TypeError, OverflowError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        rule = "must hold rows whose columns have the same types throughout"
        raise InvalidValueError("data.source", rule, f"{config.source} ({reason})") from error


def _rows(rows: Iterator[Row], text_field: str) -> Iterator[dict[str, Any]]:
    """Checked rows of prompts or messages, unchanged; else documents."""
    first = next(rows, None)
    if first is None:
        return
    rows = itertools.chain([first], rows)
    columns = list(first.content) if isinstance(first.content, Mapping) else []
    kind = next((name for name in _CONVERSATIONS if name in columns), None)
    if kind is None:
        if columns and text_field not in columns:
            rule = f"must be one of the columns {columns}, where none is `prompt` or `messages`"
            raise InvalidValueError("data.text_field", rule, text_field)
        yield from ({text_field: text} for text in texts_of(rows, text_field, _NAMES) if text.strip())
        return
    for place, content in rows:
        if not isinstance(content, Mapping) or kind not in content:
            raise InvalidValueError("data.source", f"must hold rows with a column `{kind}`", f"another row in {place}")
        if isinstance(content[kind], str) and kind == "prompt":
            require_text(content[kind], "data.source", place)
        else:
            _require_messages(content[kind], kind, place)
        yield dict(content)


def _require_messages(messages: object, kind: str, place: str) -> None:
    found = messages if isinstance(messages, list) else []
    if not found or not all(isinstance(one, Mapping) and isinstance(one.get("role"), str) for one in found):
        rule = f"must hold {'text or ' if kind == 'prompt' else ''}messages with `role` and `content` in `{kind}`"
        raise InvalidValueError("data.source", rule, f"{repr(messages)[:60]} in {place}")
    for message in found:
        if isinstance(message.get("content"), str):
            require_text(message["content"], "data.source", place)


def prompts_of(dataset: Dataset, config: CarlDataConfig, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """The data set itself if it has a column `prompt`; else messages before an answer, or texts' first tokens."""
    if "prompt" in dataset.column_names:
        return dataset
    if "messages" in dataset.column_names:
        return dataset.map(_before_answer, remove_columns=dataset.column_names)

    def opening(row: dict[str, Any]) -> dict[str, str]:
        ids = plain_ids(tokenizer, [row[config.text_field]])[0]
        return {"prompt": tokenizer.decode(ids[: config.prompt_tokens])}

    return dataset.map(opening, remove_columns=dataset.column_names)


def _before_answer(row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    prompt = list(itertools.takewhile(lambda message: message["role"] != "assistant", row["messages"]))
    if not prompt:
        raise InvalidValueError("data.source", "must hold messages before each first answer", repr(row)[:60])
    return {"prompt": prompt}
