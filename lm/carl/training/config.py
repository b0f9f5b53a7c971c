"""Configuration of training with CARL rewards: model, data, fine-tuning, policy optimisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lm.checks import COUNT, LEARNING_RATE, SEED, above, at_least, check_fields
from lm.errors import InvalidValueError
from lm.passed_files import BundledInFiles, NotInFiles, TextInFiles


@dataclass(frozen=True)
class CarlDataConfig:
    """Configuration of the training data."""

    source: TextInFiles = "roneneldan/TinyStories"
    """Text file (documents separated by a line `<|endoftext|>`, or see `by_line`), .jsonl, .parquet, or a dataset id
    on the hub."""
    by_line: bool = False
    """Whether each line of a text file is a document."""
    text_field: str = "text"
    """Column with the documents, for all sources but .txt. It is ignored for data with a column `prompt` (text or
    messages) or `messages`, whose prompts end before the first answer."""
    split: str = "train"
    """Split of a dataset from the hub."""
    prompt_tokens: int = 8
    """Number of a document's first tokens that form a prompt, for data without a column `prompt`; at least 1."""
    max_documents: int = 0
    """Maximum number of documents to read, at least 0; 0: all."""

    def __post_init__(self) -> None:
        check_fields(self, "data", prompt_tokens=COUNT, max_documents=at_least(0))


@dataclass(frozen=True)
class FineTuningConfig:
    """Configuration of supervised fine-tuning, which stops early once the model has crystallised (token accuracy)."""

    steps: int = 200
    """Maximum number of optimizer steps, at least 1."""
    batch_size: int = 16
    """Documents per optimizer step, at least 1."""
    learning_rate: float = 1e-4
    """Peak learning rate, above 0."""
    max_length: int = 256
    """Maximum length of a document, which is truncated to it [tokens], at least 2."""
    gate_accuracy: float = 0.99
    """Mean token accuracy at which a step counts as crystallised, in (0, 1]."""
    gate_window: int = 5
    """Number of last steps that the phase transition gate considers, at least 1."""
    gate_min_above: int = 3
    """Number of steps among the last `gate_window` that must reach `gate_accuracy`, from 1 to `gate_window`."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            "sft",
            steps=COUNT,
            batch_size=COUNT,
            learning_rate=LEARNING_RATE,
            max_length=at_least(2),
            gate_accuracy=above(0, 1),
            gate_window=COUNT,
            gate_min_above=at_least(1, self.gate_window),
        )


@dataclass(frozen=True)
class PolicyConfig:
    """Configuration of GRPO (arXiv:2402.03300) with the CARL reward, a task reward, or both."""

    steps: int = 100
    """Optimizer steps, at least 1."""
    prompts_per_step: int = 8
    """Number of prompts per step, at least 1."""
    num_generations: int = 8
    """Number of completions of each prompt (group size), at least 2."""
    max_completion_tokens: int = 48
    """Maximum length of a completion [tokens], at least 1."""
    temperature: float = 1.0
    """Sampling temperature of completions, above 0."""
    learning_rate: float = 1e-5
    """Peak learning rate, above 0."""
    scale_rewards: Literal["group", "batch", "none"] = "none"
    """Normalisation of advantages: division by the standard deviation of the group's rewards, of the batch's, or none.
    If all completions solve the task, a division amplifies small differences in coherence."""
    beta: float = 0.0
    """Weight of the KL divergence from the initial model, at least 0."""
    carl_weight: float = 0.3
    """Weight of the CARL reward, at least 0; 0 disables it."""
    composite: Literal["corrected", "published"] = "corrected"
    """Formula that combines the CARL scores."""
    adaptive_weights: bool = False
    """Whether the weights of the CARL scores depend on the phase of the previous batch."""
    judge: BundledInFiles | None = None
    """Model that measures coherence: a bundled name, a folder or a hub id. None: the initial model."""
    task_words: tuple[str, ...] = ()
    """Words of a task reward: 1 for a completion that contains one of them, else 0. Empty: no such reward."""
    task_reward: NotInFiles | None = None
    """Additional task reward: a TRL reward function, as "module:attribute". None: no such reward."""
    task_weight: float = 1.0
    """Weight of the task rewards, above 0."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            "grpo",
            steps=COUNT,
            prompts_per_step=COUNT,
            num_generations=at_least(2),
            max_completion_tokens=COUNT,
            temperature=at_least(1e-3, 1e3),
            learning_rate=LEARNING_RATE,
            beta=at_least(0, 1e6),
            carl_weight=at_least(0, 1e6),
            task_weight=above(0, 1e6),
        )


@dataclass(frozen=True)
class CarlTrainConfig:
    """Configuration of a training run with CARL rewards."""

    method: Literal["sft", "grpo", "sft-then-grpo"] = "grpo"
    """Training method: supervised fine-tuning, policy optimisation (GRPO), or one after the other."""
    model: BundledInFiles = "tidal-tiny"
    """Causal LM to train: a bundled name, a folder or a hub id."""
    data: CarlDataConfig = field(default_factory=CarlDataConfig)
    sft: FineTuningConfig = field(default_factory=FineTuningConfig)
    grpo: PolicyConfig = field(default_factory=PolicyConfig)
    device: Literal["auto", "cpu"] = "auto"
    """Device to train on; `auto`: the GPU if there is one."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Automatic mixed precision: none (float32), or bfloat16."""
    gradient_checkpointing: bool = False
    """Whether to recompute activations in the backward pass, which saves memory."""
    save_every: int = 50
    """Optimizer steps between checkpoints, at least 1."""
    seed: int = 0
    """Seed of batches and completions, at least 0."""

    def __post_init__(self) -> None:
        check_fields(self, save_every=COUNT, seed=SEED)
        grpo = self.grpo
        if self.has_grpo and not (grpo.carl_weight or grpo.task_words or grpo.task_reward):
            raise InvalidValueError("grpo.carl_weight", "must be above 0 without a task reward", grpo.carl_weight)

    @property
    def has_sft(self) -> bool:
        """Whether there is supervised fine-tuning."""
        return self.method in ("sft", "sft-then-grpo")

    @property
    def has_grpo(self) -> bool:
        """Whether there is policy optimisation."""
        return self.method in ("grpo", "sft-then-grpo")
