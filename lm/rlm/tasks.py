"""Prediction tasks on sentences of a grammar: the next token, the last token, the root, or a masked token.

All tasks have one form. The model reads `inputs` (B, S) and answers at its last P places with a distribution over the v
symbols; `answers` (B, P) are what should stand there. So one loss, one evaluation and one Trainer serve all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lm.errors import InvalidValueError
from lm.rlm.grammar import Derivations, RandomGrammar
from lm.rlm.statistics import leaf_distribution, leaf_given_root, pair_distribution
from lm.tokenizers.tokenization import END_OF_TEXT

MASK = "<|mask|>"

IGNORED = -100
"""Label of positions without an answer, which transformers' losses ignore."""


class Examples(NamedTuple):
    """B examples of a task."""

    inputs: Tensor
    """(B, S) token ids that the model reads."""
    answers: Tensor
    """(B, P) symbols that it should give at the last P places."""
    sentences: Tensor
    """(B, T) that the examples were made of."""

    def as_language(self) -> dict[str, Tensor]:
        """`input_ids` and `labels`, (B, S + 1) each, as any causal LM of transformers takes them.

        The last answer is put behind the inputs, since these models shift labels inside: label i is asked of output
        i − 1.
        """
        input_ids = torch.cat((self.inputs, self.answers[:, -1:]), dim=1)
        ignored = input_ids.shape[1] - self.answers.shape[1]
        return {"input_ids": input_ids, "labels": F.pad(self.answers, (ignored, 0), value=IGNORED)}


class Task(ABC):
    """Base class of tasks: makes examples from a grammar's sentences, and computes their exact posteriors."""

    name: str
    """Task name in configurations."""
    special_tokens: tuple[str, ...] = ()
    """Names of the tokens that inputs hold beside the v symbols, after which their ids come."""

    def __init__(self, grammar: RandomGrammar) -> None:
        self.grammar = grammar

    @property
    def vocab_size(self) -> int:
        """Symbols and special tokens."""
        return self.grammar.vocab_size + len(self.special_tokens)

    @property
    def special_id(self) -> int:
        """Id of the special token, if there is one."""
        return self.grammar.vocab_size

    @property
    def context_length(self) -> int:
        """Longest sequence that a model reads, S + 1 [tokens]."""
        return self.grammar.sentence_length + 1

    @abstractmethod
    def examples(self, derivations: Derivations, generator: torch.Generator) -> Examples:
        """One of each sentence; the generator draws what the task leaves open."""

    @abstractmethod
    def best_answers(self, examples: Examples) -> Tensor:
        """Exact posteriors of the answers, (B, P, v). Their entropy is what no model's expected loss can go below."""

    @abstractmethod
    def unigram_loss(self) -> Tensor:
        """(P,) expected loss [nats] of a model that predicts the marginal frequencies."""

    @abstractmethod
    def bigram_loss(self) -> Tensor:
        """(P,) expected loss [nats] of a model that reads only the token next to the answer."""

    def sample(self, count: int, generator: torch.Generator | None = None) -> Examples:
        """New examples; without a generator, the grammar's own draws them."""
        generator = self.grammar.own_generator if generator is None else generator
        return self.examples(self.grammar.sample_derivations(count, generator), generator)

    def sample_batch(self, batch_size: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Inputs (B, S), and targets: (B,) for tasks with one answer, else (B, P)."""
        examples = self.sample(batch_size, generator)
        return examples.inputs, examples.answers.squeeze(1) if examples.answers.shape[1] == 1 else examples.answers


class LastToken(Task):
    """The last token from the T − 1 others: the classic."""

    name = "last"

    @property
    def context_length(self) -> int:
        """T tokens."""
        return self.grammar.sentence_length

    def examples(self, derivations: Derivations, generator: torch.Generator) -> Examples:
        """See :class:`Task`."""
        leaves = derivations.leaves
        return Examples(leaves[:, :-1], leaves[:, -1:], leaves)

    def best_answers(self, examples: Examples) -> Tensor:
        """See :class:`Task`."""
        return self.grammar.next_token_posterior(examples.sentences)[:, -1:]

    def unigram_loss(self) -> Tensor:
        """See :class:`Task`."""
        return _unigram_losses(self.grammar)[-1:]

    def bigram_loss(self) -> Tensor:
        """See :class:`Task`."""
        return _bigram_losses(self.grammar)[-1:]


class NextToken(Task):
    """Every token from those before it, after a token that begins the text: what makes a language model."""

    name = "next"
    special_tokens = (END_OF_TEXT,)

    @property
    def context_length(self) -> int:
        """T + 2: the beginning, the sentence, and one to spare, which environments want."""
        return self.grammar.sentence_length + 2

    def examples(self, derivations: Derivations, generator: torch.Generator) -> Examples:
        """See :class:`Task`."""
        leaves = derivations.leaves
        return Examples(F.pad(leaves[:, :-1], (1, 0), value=self.special_id), leaves, leaves)

    def best_answers(self, examples: Examples) -> Tensor:
        """See :class:`Task`."""
        return self.grammar.next_token_posterior(examples.sentences)

    def unigram_loss(self) -> Tensor:
        """See :class:`Task`."""
        return _unigram_losses(self.grammar)

    def bigram_loss(self) -> Tensor:
        """See :class:`Task`."""
        return _bigram_losses(self.grammar)


class RootFromLeaves(Task):
    """The root from the whole sentence."""

    name = "root"

    def examples(self, derivations: Derivations, generator: torch.Generator) -> Examples:
        """See :class:`Task`."""
        return Examples(derivations.leaves, derivations.levels[0], derivations.leaves)

    def best_answers(self, examples: Examples) -> Tensor:
        """See :class:`Task`."""
        return self.grammar.root_posterior(examples.sentences).unsqueeze(1)

    def unigram_loss(self) -> Tensor:
        """See :class:`Task`: ln v."""
        return torch.tensor([float(self.grammar.vocab_size)], dtype=self.grammar.rules.dtype).log()

    def bigram_loss(self) -> Tensor:
        """See :class:`Task`; the token is the last one."""
        joint = leaf_given_root(self.grammar, self.grammar.sentence_length - 1) / self.grammar.vocab_size
        return _conditional_entropy(joint.T).reshape(1)


class MaskedLeaf(Task):
    """A token at a random place from the T − 1 others; the answer is given after the last one, where all are read."""

    name = "masked"
    special_tokens = (MASK,)

    def examples(self, derivations: Derivations, generator: torch.Generator) -> Examples:
        """See :class:`Task`."""
        leaves = derivations.leaves
        hidden = torch.randint(leaves.shape[1], (len(leaves), 1), generator=generator, device=leaves.device)
        return Examples(leaves.scatter(1, hidden, self.special_id), leaves.gather(1, hidden), leaves)

    def best_answers(self, examples: Examples) -> Tensor:
        """See :class:`Task`."""
        is_hidden = examples.inputs == self.special_id  # one in each row
        return self.grammar.masked_posterior(examples.sentences)[is_hidden].unsqueeze(1)

    def unigram_loss(self) -> Tensor:
        """See :class:`Task`; the mean over all places."""
        return _unigram_losses(self.grammar).mean(dim=0, keepdim=True)

    def bigram_loss(self) -> Tensor:
        """See :class:`Task`; the token is the one before, and the mean is over all places."""
        return _bigram_losses(self.grammar).mean(dim=0, keepdim=True)


TASKS: dict[str, type[Task]] = {kind.name: kind for kind in (LastToken, NextToken, RootFromLeaves, MaskedLeaf)}


def make_task(name: str, grammar: RandomGrammar) -> Task:
    """The task of this name.

    Raises:
        InvalidValueError: there is none.
    """
    if name not in TASKS:
        raise InvalidValueError("task", f"must be one of {', '.join(TASKS)}", repr(name))
    return TASKS[name](grammar)


def _unigram_losses(grammar: RandomGrammar) -> Tensor:
    """(T,) H(x_t) [nats]."""
    places = range(grammar.sentence_length)
    return torch.stack([torch.special.entr(leaf_distribution(grammar, place)).sum() for place in places])


def _bigram_losses(grammar: RandomGrammar) -> Tensor:
    """(T,) H(x_t | x_{t−1}) [nats]; H(x_0) for the first."""
    pairs = [pair_distribution(grammar, place - 1, place) for place in range(1, grammar.sentence_length)]
    return torch.stack([_unigram_losses(grammar)[0], *map(_conditional_entropy, pairs)])


def _conditional_entropy(joint: Tensor) -> Tensor:
    """H(y | x) [nats] of a joint distribution (x, y)."""
    return torch.special.entr(joint).sum() - torch.special.entr(joint.sum(dim=1)).sum()
