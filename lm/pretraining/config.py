"""What defines a pretraining run: model, data, optimisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lm.checks import COUNT, LEARNING_RATE, SEED, Bounds, above, at_least, check_fields, require
from lm.data.control_codes import ControlCodeConfig
from lm.models.config import ModelConfig
from lm.passed_files import InsideInFiles, NotInFiles, TextInFiles


@dataclass(frozen=True)
class DataConfig:
    """Text to train and validate on."""

    train: TextInFiles = "roneneldan/TinyStories"
    """A .txt file (documents separated by a line <|endoftext|>), .jsonl, .parquet, or a dataset id on the hub."""

    validation: TextInFiles | None = None
    """The same for validation; None cuts the last `validation_fraction` of the training documents off for it.
    `split:NAME` names another split of the training dataset."""

    validation_fraction: float = 0.02
    """Share of the training documents kept for validation when `validation` is None, in (0, 1)."""

    text_field: str = "text"
    """Column that holds the text, for all sources but .txt."""

    cache_dir: InsideInFiles = ".cache/tokens"
    """Folder of the tokenised copies."""

    tokenizer: NotInFiles | None = None
    """Folder or hub id of a tokenizer; None trains a byte-level BPE on the training text."""

    vocab_size: int = 4096
    """Vocabulary of the tokenizer trained here [tokens]."""

    def __post_init__(self) -> None:
        share = Bounds(0, 1, is_open_below=True, is_open_above=True)
        check_fields(self, "data", validation_fraction=share, vocab_size=COUNT)


@dataclass(frozen=True)
class TrainingConfig:
    """Optimisation."""

    epochs: float = 1.0
    """Passes over the training text."""

    max_steps: int = -1
    """Optimizer steps; overrides `epochs` when positive."""

    batch_size: int = 32
    """Windows per forward pass."""

    gradient_accumulation: int = 1
    """Forward passes per optimizer step."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` is Muon on the blocks' matrices and AdamW on the rest."""

    learning_rate: float = 1e-3
    """Peak learning rate."""

    min_learning_rate: float = 1e-6
    """Learning rate at the end of the cosine."""

    warmup_ratio: float = 0.1
    """Share of the steps over which the learning rate rises linearly, in [0, 1)."""

    weight_decay: float = 0.1
    """Decoupled weight decay of matrices."""

    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Automatic mixed precision; `auto` is bfloat16 where the hardware multiplies it fast, else float32."""

    evaluate_every: int = 500
    """Optimizer steps between validations, each followed by a checkpoint."""

    patience: int = 5
    """Validations without improvement after which training stops; 0 never stops early."""

    compile: bool = False
    """Whether to use torch.compile."""

    seed: int = 0
    """Seed of initialisation, order of windows and gate dropping."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            "training",
            epochs=above(0, 1e6),
            max_steps=at_least(-1),
            batch_size=COUNT,
            gradient_accumulation=COUNT,
            learning_rate=LEARNING_RATE,
            min_learning_rate=at_least(0, 1000),
            warmup_ratio=Bounds(0, 1, is_open_above=True),
            weight_decay=at_least(0, 1e6),
            max_grad_norm=above(0, 1e6),
            evaluate_every=COUNT,
            patience=at_least(0),
            seed=SEED,
        )


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that defines a pretraining run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    control_codes: ControlCodeConfig = field(default_factory=ControlCodeConfig)
    save_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Type of the weights on disk."""

    def __post_init__(self) -> None:
        check_fields(self)
        segment, context = self.control_codes.segment_length, self.model.context_length
        rule = f"must be a divisor of `model.context_length` ({context})"
        require("control_codes.segment_length", rule, segment, context % segment == 0)

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.training.batch_size * self.training.gradient_accumulation * self.model.context_length
