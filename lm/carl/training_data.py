"""The text that CARL training reads: documents to fine-tune on, and prompts to complete."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from lm.carl.training_config import CarlDataConfig
from lm.errors import InvalidValueError
from lm.text_data import read_documents

if TYPE_CHECKING:
    from datasets import Dataset

_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}


def read_training_data(config: CarlDataConfig) -> Dataset:
    """A data set with a column of text, or of prompts or messages.

    Raises:
        InvalidValueError: the file does not exist, holds no document, or has none of the columns.
    """
    import datasets

    path, limit = Path(config.source), config.max_documents or None
    if path.suffix == ".txt":
        documents = read_documents(config.source)
        if config.by_line:
            documents = (line for document in documents for line in document.splitlines() if line.strip())
        dataset = datasets.Dataset.from_dict({config.text_field: list(itertools.islice(documents, limit))})
    elif path.suffix in _BUILDERS:
        if not path.is_file():
            raise InvalidValueError("data.source", "must be an existing file", config.source)
        dataset = datasets.load_dataset(_BUILDERS[path.suffix], data_files=config.source, split="train")
    else:
        dataset = datasets.load_dataset(config.source, split=config.split)
    if len(dataset) == 0:
        raise InvalidValueError("data.source", "must hold at least one document that is not empty", config.source)
    if not {config.text_field, "prompt", "messages"} & set(dataset.column_names):
        rule = f"must be one of the columns {dataset.column_names}, where none is `prompt` or `messages`"
        raise InvalidValueError("data.text_field", rule, config.text_field)
    return dataset.select(range(min(limit or len(dataset), len(dataset))))


def prompts_of(dataset: Dataset, config: CarlDataConfig, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """The data set itself if it has a column `prompt`; else messages before an answer, or texts' first tokens."""
    if "prompt" in dataset.column_names:
        return dataset
    if "messages" in dataset.column_names:
        return dataset.map(_before_answer, remove_columns=dataset.column_names)

    def opening(row: dict[str, Any]) -> dict[str, str]:
        ids = tokenizer(row[config.text_field], add_special_tokens=False)["input_ids"]
        return {"prompt": tokenizer.decode(ids[: config.prompt_tokens])}

    return dataset.map(opening, remove_columns=dataset.column_names)


def _before_answer(row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {"prompt": list(itertools.takewhile(lambda message: message["role"] != "assistant", row["messages"]))}
