"""Configuration of training runs on random grammars (grammar, task and data, model, optimisation) and of sweeps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from lm.checks import COUNT, LEARNING_RATE, SEED, Bounds, above, at_least, check_fields, require
from lm.errors import InvalidValueError
from lm.models.config import ModelConfig
from lm.passed_files import NotInFiles

if TYPE_CHECKING:
    from lm.rlm.grammar import RandomGrammar


@dataclass(frozen=True)
class GrammarConfig:
    """Configuration of a random grammar; see `lm.rlm.grammar.RandomGrammar`."""

    vocab_size: int = 64
    """Number of symbols v, at least 2."""
    depth: int = 3
    """Depth L of the tree, at least 1; sentences have 2^L symbols."""
    beta: float = 2.0
    """Inverse temperature of the rules, above 0."""
    seed: int = 0
    """Seed of the rules, at least 0."""
    file: NotInFiles | None = None
    """File of a saved grammar, which replaces the other fields. None: a new grammar."""

    def __post_init__(self) -> None:
        check_fields(self, "grammar", vocab_size=at_least(2), depth=COUNT, beta=above(0, 1e6), seed=SEED)

    def make(self) -> RandomGrammar:
        """Makes or loads the grammar."""
        from lm.rlm.grammar import RandomGrammar  # imports torch

        if self.file is not None:
            return RandomGrammar.load(self.file)
        return RandomGrammar(self.vocab_size, self.depth, self.beta, self.seed)


@dataclass(frozen=True)
class ExamplesConfig:
    """Configuration of the task and its examples."""

    task: Literal["last", "next", "root", "masked"] = "next"
    """Task: `next`: each token from the previous ones (language modelling); `last`: the last token from the others;
    `root`: the root from the sentence; `masked`: a masked token from the others."""
    train_size: int = 0
    """Number of training sentences, at least 0; 0: an unlimited stream of new sentences."""
    test_size: int = 4096
    """Number of test sentences, at least 2; the same number of training sentences is measured too."""
    seed: int = 0
    """Seed of the sentences, at least 0; training and test sentences are independent."""

    def __post_init__(self) -> None:
        check_fields(self, "examples", train_size=at_least(0), test_size=at_least(2), seed=SEED)


@dataclass(frozen=True)
class OptimizationConfig:
    """Configuration of the optimisation."""

    max_steps: int = 30_000
    """Number of optimizer steps, at least 1."""
    batch_size: int = 64
    """Number of sentences per step, at least 1."""
    optimizer: Literal["sgd", "adam", "adamw", "muon"] = "adamw"
    """Optimizer: SGD with momentum, Adam, AdamW, or Muon for the blocks' matrices and AdamW for the rest."""
    learning_rate: float = 1e-3
    """Peak learning rate, above 0."""
    momentum: float = 0.9
    """Momentum of `sgd`, in [0, 1)."""
    weight_decay: float = 0.0
    """Weight decay of matrices, at least 0: decoupled for `adamw` and `muon`, added to the gradient for the others."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate schedule after the warm-up."""
    warmup_steps: int = 0
    """Number of warm-up steps of the learning rate, at least 0."""
    decay_steps: int | None = None
    """Step at which the cosine schedule reaches 0, at least `max_steps`. None: `max_steps`."""
    max_grad_norm: float = 0.0
    """Maximum norm of gradients, at least 0; 0: no clipping."""
    embedding_std: float | None = None
    """Standard deviation of the initial token embeddings, above 0. None: the model's default, 0.02."""
    checkpoints: int = 40
    """Number of checkpoints with measurements, at logarithmically spaced steps, at least 1."""
    seed: int = 0
    """Seed of weights and order of the sentences, at least 0."""

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
    """Configuration of a training run on a random grammar."""

    grammar: GrammarConfig = field(default_factory=GrammarConfig)
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    model: ModelConfig = field(
        default_factory=lambda: ModelConfig(
            hidden_size=64, num_hidden_layers=1, num_attention_heads=1, intermediate_size=256, gated=False
        )
    )
    """Model, as for `tidal pretrain`; the task sets `context_length`."""
    training: OptimizationConfig = field(default_factory=OptimizationConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        training, examples = self.training, self.examples
        rule = f"must be 0 or at least `training.batch_size` ({training.batch_size})"
        is_enough = examples.train_size == 0 or examples.train_size >= training.batch_size
        require("examples.train_size", rule, examples.train_size, is_enough)


@dataclass(frozen=True)
class SweepConfig:
    """Configuration of a sweep: a parameter, its values, and the run to vary."""

    parameter: Literal["train_size", "depth", "beta"] = "train_size"
    """Parameter to vary."""
    values: tuple[float, ...] = (1024, 4096, 16_384, 65_536)
    """Values of the parameter, at least one."""
    grammars: tuple[int, ...] = (0, 1, 2)
    """Seeds of the grammars for each value, at least one."""
    run: RLMConfig = field(default_factory=RLMConfig)
    """Configuration of the runs, apart from the varied parameter and the grammar's seed."""

    def __post_init__(self) -> None:
        check_fields(self, grammars=SEED)
        for name in ("values", "grammars"):
            members = getattr(self, name)
            if not members or len(set(members)) != len(members):
                raise InvalidValueError(name, "must be one or more different numbers", members)
        if self.parameter != "beta" and any(value != int(value) for value in self.values):
            raise InvalidValueError("values", f"must be whole numbers for `{self.parameter}`", self.values)
        for value in self.values:
            self.run_of(value, self.grammars[0])  # checks the run's own rules

    def run_of(self, value: float, grammar: int) -> RLMConfig:
        """Configuration of the run of one value and one grammar."""
        seeded = replace(self.run, grammar=replace(self.run.grammar, seed=grammar))
        if self.parameter == "beta":
            return replace(seeded, grammar=replace(seeded.grammar, beta=float(value)))
        if self.parameter == "depth":
            return replace(seeded, grammar=replace(seeded.grammar, depth=int(value)))
        return replace(seeded, examples=replace(seeded.examples, train_size=int(value)))
