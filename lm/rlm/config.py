"""What defines a run on a random grammar: grammar, task and data, model, optimisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lm.checks import COUNT, LEARNING_RATE, SEED, Bounds, above, at_least, check_fields, require
from lm.models.config import ModelConfig
from lm.passed_files import NotInFiles
from lm.rlm.grammar import RandomGrammar


@dataclass(frozen=True)
class GrammarConfig:
    """Which grammar; see `lm.rlm.grammar.RandomGrammar`."""

    vocab_size: int = 64
    """v, number of symbols, at least 2."""
    depth: int = 3
    """L, at least 1; sentences have 2^L symbols."""
    beta: float = 2.0
    """Inverse temperature of the rules, above 0."""
    seed: int = 0
    """Of the rules, at least 0."""
    file: NotInFiles | None = None
    """A saved grammar, in place of what is above."""

    def __post_init__(self) -> None:
        check_fields(self, "grammar", vocab_size=at_least(2), depth=COUNT, beta=above(0, 1e6), seed=SEED)

    def make(self) -> RandomGrammar:
        """The grammar."""
        if self.file is not None:
            return RandomGrammar.load(self.file)
        return RandomGrammar(self.vocab_size, self.depth, self.beta, self.seed)


@dataclass(frozen=True)
class ExamplesConfig:
    """What is asked, and of how many sentences."""

    task: Literal["last", "next", "root", "masked"] = "next"
    """`last`: the last token from the others; `next`: every token from those before it, which makes a language model;
    `root`: the root from the sentence; `masked`: a hidden token from the others."""
    train_size: int = 0
    """Sentences in the training set, at least 0; 0 draws new ones for ever."""
    test_size: int = 4096
    """Sentences that the model is measured on, at least 2; as many training sentences are measured beside them."""
    seed: int = 0
    """Of the sentences, at least 0; training and test sentences of one seed share nothing."""

    def __post_init__(self) -> None:
        check_fields(self, "examples", train_size=at_least(0), test_size=at_least(2), seed=SEED)


@dataclass(frozen=True)
class OptimizationConfig:
    """How the model is trained."""

    max_steps: int = 30_000
    """Optimizer steps, at least 1."""
    batch_size: int = 64
    """Sentences in a step, at least 1."""
    optimizer: Literal["sgd", "adam", "adamw", "muon"] = "adamw"
    """`sgd` has momentum; `muon` is Muon on the blocks' matrices and AdamW on the rest."""
    learning_rate: float = 1e-3
    """Highest learning rate, above 0."""
    momentum: float = 0.9
    """Of `sgd`, in [0, 1)."""
    weight_decay: float = 0.0
    """Of matrices, at least 0: decoupled for `adamw` and `muon`, added to the gradient for the others."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """What the learning rate does after the warm-up."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0, at least 0."""
    decay_steps: int | None = None
    """Step at which the cosine has reached 0, at least `max_steps`; None: `max_steps`."""
    max_grad_norm: float = 0.0
    """Norm to which gradients are scaled down, at least 0; 0 leaves them."""
    embedding_std: float | None = None
    """Standard deviation of the token embeddings at the start, above 0; None leaves the model's own, 0.02."""
    checkpoints: int = 40
    """Checkpoints, each with a measurement, at logarithmically spaced steps, at least 1."""
    seed: int = 0
    """Of weights and order, at least 0."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            "training",
            max_steps=COUNT,
            batch_size=COUNT,
            learning_rate=LEARNING_RATE,
            momentum=Bounds(0, 1, is_open_above=True),
            weight_decay=at_least(0, 1e6),
            warmup_steps=at_least(0),
            max_grad_norm=at_least(0, 1e6),
            embedding_std=above(0, 1e6),
            checkpoints=COUNT,
            seed=SEED,
        )
        rule = f"must be at least `training.max_steps` ({self.max_steps})"
        require("training.decay_steps", rule, self.decay_steps, (self.decay_steps or self.max_steps) >= self.max_steps)


@dataclass(frozen=True)
class RLMConfig:
    """A run."""

    grammar: GrammarConfig = field(default_factory=GrammarConfig)
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    model: ModelConfig = field(
        default_factory=lambda: ModelConfig(
            hidden_size=64, num_hidden_layers=1, num_attention_heads=1, intermediate_size=256, gated=False
        )
    )
    """As for `tidal pretrain`, but for `context_length`, which the task decides."""
    training: OptimizationConfig = field(default_factory=OptimizationConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        training, examples = self.training, self.examples
        rule = f"must be 0 or at least `training.batch_size` ({training.batch_size})"
        is_enough = examples.train_size == 0 or examples.train_size >= training.batch_size
        require("examples.train_size", rule, examples.train_size, is_enough)
