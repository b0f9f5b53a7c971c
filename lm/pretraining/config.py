"""Configuration of pretraining runs: data and optimisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lm.checks import COUNT, LEARNING_RATE, SEED, Bounds, above, at_least, check_fields, require
from lm.data.control_code_config import ControlCodeConfig
from lm.models.config import ModelConfig
from lm.passed_files import InsideInFiles, NotInFiles, TextInFiles


@dataclass(frozen=True)
class DataConfig:
    """Configuration of the training and validation text."""

    train: TextInFiles = "roneneldan/TinyStories"
    """Training text: .txt (documents separated by a line <|endoftext|>), .jsonl, .parquet, or a hub dataset id."""

    validation: TextInFiles | None = None
    """Validation text, in the formats of `train`, or `split:NAME` for another split of the training dataset. None: the
    last `validation_fraction` of the training documents."""

    validation_fraction: float = 0.02
    """Share of the training documents used for validation if `validation` is None, in (0, 1)."""

    text_field: str = "text"
    """Column with the text, for all sources but .txt."""

    cache_dir: InsideInFiles = ".cache/tokens"
    """Cache folder of tokenised text."""

    tokenizer: NotInFiles | None = None
    """Folder or hub id of a tokenizer. None: train a byte-level BPE on the training text."""

    vocab_size: int = 4096
    """Vocabulary size of a tokenizer trained here [tokens]."""

    def __post_init__(self) -> None:
        share = Bounds(0, 1, is_open_below=True, is_open_above=True)
        check_fields(self, "data", validation_fraction=share, vocab_size=COUNT)


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of the optimisation."""

    epochs: float = 1.0
    """Number of passes over the training text."""

    max_steps: int = -1
    """Number of optimizer steps; overrides `epochs` if positive."""

    batch_size: int = 32
    """Number of windows per forward pass."""

    gradient_accumulation: int = 1
    """Number of forward passes per optimizer step."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """Optimizer: AdamW, or Muon for the blocks' matrices and AdamW for the rest."""

    learning_rate: float = 1e-3
    """Peak learning rate."""

    min_learning_rate: float = 1e-6
    """Final learning rate of the cosine schedule."""

    warmup_ratio: float = 0.1
    """Share of the steps with linear warm-up of the learning rate, in [0, 1)."""

    weight_decay: float = 0.1
    """Decoupled weight decay of matrices."""

    max_grad_norm: float = 1.0
    """Maximum norm of gradients."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Automatic mixed precision; `auto` is bfloat16 on hardware with fast support, else float32."""

    evaluate_every: int = 500
    """Number of optimizer steps between validations; each validation saves a checkpoint."""

    patience: int = 5
    """Early stopping: number of validations without improvement; 0 disables it."""

    compile: bool = False
    """Whether to use torch.compile."""

    seed: int = 0
    """Seed of initialisation, window order and gate dropout."""

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
    """Configuration of a pretraining run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    control_codes: ControlCodeConfig = field(default_factory=ControlCodeConfig)
    save_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Data type of the saved weights."""

    def __post_init__(self) -> None:
        check_fields(self)
        segment, context = self.control_codes.segment_length, self.model.context_length
        rule = f"must be a divisor of `model.context_length` ({context})"
        require("control_codes.segment_length", rule, segment, context % segment == 0)

    @property
    def tokens_per_step(self) -> int:
        """Number of tokens per optimizer step."""
        return self.training.batch_size * self.training.gradient_accumulation * self.model.context_length
