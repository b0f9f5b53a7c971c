"""A tokenizer for a grammar's symbols, so that its models are language models like any other."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from lm.rlm.tasks import Task
from lm.tokenizers.tokenization import END_OF_TEXT


def symbol_tokenizer(task: Task) -> PreTrainedTokenizerFast:
    """Symbols as the words ``s0`` to ``s{v - 1}``, separated by spaces; then the task's special tokens.

    Where the task has a token that begins a text, encoding puts it before every text, and drawing it ends one.
    """
    words = [f"s{symbol}" for symbol in range(task.grammar.vocab_size)]
    vocabulary = {word: index for index, word in enumerate([*words, *task.special_tokens])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(task.special_tokens))
    if END_OF_TEXT not in task.special_tokens:
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", pair=f"{END_OF_TEXT} $A $B", special_tokens=[(END_OF_TEXT, task.special_id)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT
    )
