"""Tokenizers: loading one by folder or hub id, and training a byte-level BPE on one's own text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lm.errors import InvalidValueError, ModelFolderError, first_line
from lm.memory import require_memory
from lm.paths import user_path

END_OF_TEXT = "<|endoftext|>"
"""Stands before and between documents: beginning and end of text in one, as in GPT-2."""

SMALLEST_VOCABULARY = 257
"""The 256 bytes and the end-of-text token."""


def train_bpe(documents: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; encoding a text puts ``<|endoftext|>`` (id 0) before it.

    Raises:
        InvalidValueError: `vocab_size` is below 257 (the bytes and end of text), or larger than the memory holds.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise InvalidValueError("vocab_size", f"must be at least {SMALLEST_VOCABULARY}", vocab_size)
    require_memory("vocab_size", vocab_size, "training a tokenizer", lambda tokens: 64 * tokens)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", pair=f"{END_OF_TEXT} $A $B", special_tokens=[(END_OF_TEXT, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT
    )


def load_tokenizer(name_or_folder: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder, of a folder with GPT-2's vocab.json and merges.txt, or of a hub id.

    Raises:
        ModelFolderError: there is none; explains how to make one.
    """
    folder = user_path(name_or_folder)
    known = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    if folder.is_dir() and not any((folder / name).exists() for name in known):
        raise ModelFolderError(
            f"The folder {folder} holds no tokenizer (none of {', '.join(known)}). Save one beside the model with "
            "`tokenizer.save_pretrained(folder)`; `tidal pretrain` writes it by itself."
        )
    try:
        if (folder / "vocab.json").exists() and not (folder / "tokenizer_config.json").exists():
            return _load_gpt2(folder)
        source = folder if folder.is_dir() else name_or_folder
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        longest = tokenizer.model_max_length
        if type(longest) not in (int, float) or not longest >= 1:
            raise ValueError(f"`model_max_length` must be a number, at least 1. Received {longest!r}.")
        return tokenizer
    except BaseException as error:  # a damaged file makes the libraries raise anything, and tokenizers' Rust code panic
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelFolderError(f"No tokenizer could be loaded from '{name_or_folder}': {first_line(error)}") from error


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer's files. Raises OSError where the disk is full: tokenizers raises a bare Exception."""
    try:
        tokenizer.save_pretrained(folder)
    except Exception as error:
        if type(error) is Exception and "os error" in str(error):
            raise OSError(str(error)) from error
        raise


def _load_gpt2(folder: Path) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT
    )


def beginning_of_text_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the token that stands before a document: the tokenizer's bos, else its eos.

    Raises:
        ModelFolderError: the tokenizer has neither.
    """
    token_id = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token_id is None:
        raise ModelFolderError("The tokenizer has neither a bos nor an eos token, so documents cannot be separated.")
    return token_id


def plain_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts alone: nothing is put around them, and special tokens that they spell are plain text."""
    if not texts:
        return []
    # Not verbose: documents longer than the model's context are allowed.
    options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
    with refusing_unknown_text():
        return tokenizer(list(texts), split_special_tokens=True, **options)["input_ids"]


@contextmanager
def refusing_unknown_text() -> Iterator[None]:
    """Around a tokenizer's call: raises ModelFolderError where it has no token for a part of the text, not even [UNK].

    A grammar's tokenizer, for example, knows its symbols alone.
    """
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:  # tokenizers raises the bare class
            raise
        hint = "Give text of the tokenizer's vocabulary, or another model."
        raise ModelFolderError(f"The model's tokenizer cannot encode the text: {first_line(error)}. {hint}") from error
