"""What a training run with CARL rewards is: model, data, fine-tuning, policy optimisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lm.checks import COUNT, LEARNING_RATE, SEED, above, at_least, check_fields
from lm.errors import InvalidValueError
from lm.passed_files import BundledInFiles, NotInFiles, TextInFiles


@dataclass(frozen=True)
class CarlDataConfig:
    """What is trained on."""

    source: TextInFiles = "roneneldan/TinyStories"
    """Text file (documents separated by a line `<|endoftext|>`, or see `by_line`), .jsonl, .parquet, or a dataset id
    on the hub."""
    by_line: bool = False
    """Whether each line of a text file is a document."""
    text_field: str = "text"
    """Column that holds the documents, for all sources but .txt. A dataset with a column `prompt` (text or messages),
    or with `messages`, needs none: prompts end before the first answer."""
    split: str = "train"
    """Split of a dataset from the hub."""
    prompt_tokens: int = 8
    """Tokens of a document that make a prompt, where there is no column `prompt`; at least 1."""
    max_documents: int = 0
    """Most documents that are read, at least 0; 0 is all."""

    def __post_init__(self) -> None:
        check_fields(self, "data", prompt_tokens=COUNT, max_documents=at_least(0))


@dataclass(frozen=True)
class FineTuningConfig:
    """Supervised fine-tuning, which ends early when the model has crystallised."""

    steps: int = 200
    """Most optimizer steps, at least 1."""
    batch_size: int = 16
    """Documents per optimizer step, at least 1."""
    learning_rate: float = 1e-4
    """Peak learning rate, above 0."""
    max_length: int = 256
    """Tokens after which a document is cut, at least 2."""
    gate_accuracy: float = 0.99
    """Mean token accuracy that counts as crystallised, in (0, 1]."""
    gate_window: int = 5
    """How many of the last steps the gate looks at, at least 1."""
    gate_min_above: int = 3
    """How many of them must reach the accuracy, from 1 to `gate_window`."""

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
    """Group relative policy optimisation (arXiv:2402.03300) with the CARL reward, a task reward, or both."""

    steps: int = 100
    """Optimizer steps, at least 1."""
    prompts_per_step: int = 8
    """Different prompts in a step, at least 1."""
    num_generations: int = 8
    """Completions of each prompt, at least 2: a group."""
    max_completion_tokens: int = 48
    """Longest completion [tokens], at least 1."""
    temperature: float = 1.0
    """Of the draws, above 0."""
    learning_rate: float = 1e-5
    """Peak learning rate, above 0."""
    scale_rewards: Literal["group", "batch", "none"] = "none"
    """What advantages are divided by: the standard deviation of the group's rewards, of the batch's, or nothing. Where
    all completions solve the task, a division makes small differences in coherence count as much as the task did."""
    beta: float = 0.0
    """Weight of the divergence from the model before training, at least 0."""
    carl_weight: float = 0.3
    """Weight of the CARL reward, at least 0; 0 leaves it out."""
    composite: Literal["corrected", "published"] = "corrected"
    """How the CARL scores become one number."""
    adaptive_weights: bool = False
    """Whether the weights of the scores follow the phase of the previous batch."""
    judge: BundledInFiles | None = None
    """Model that coherence is measured with: a bundled name, a folder or a hub id; None: the model before training."""
    task_words: tuple[str, ...] = ()
    """A task: 1 for a completion that contains one of these words, else 0. None: no such task."""
    task_reward: NotInFiles | None = None
    """Another task: a reward function of TRL's kind, as "module:attribute"."""
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
    """Everything that defines a run."""

    method: Literal["sft", "grpo", "sft-then-grpo"] = "grpo"
    """Supervised fine-tuning, policy optimisation, or the first until the model has crystallised and then the other."""
    model: BundledInFiles = "tidal-tiny"
    """Causal LM to train: a bundled name, a folder or a hub id."""
    data: CarlDataConfig = field(default_factory=CarlDataConfig)
    sft: FineTuningConfig = field(default_factory=FineTuningConfig)
    grpo: PolicyConfig = field(default_factory=PolicyConfig)
    device: Literal["auto", "cpu"] = "auto"
    """Where to train; `auto` is the GPU where there is one."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Automatic mixed precision: none, or bfloat16."""
    gradient_checkpointing: bool = False
    """Whether activations are computed again in the backward pass, which saves memory."""
    save_every: int = 50
    """Optimizer steps between checkpoints, at least 1."""
    seed: int = 0
    """Seed of batches and completions, at least 0."""

    def __post_init__(self) -> None:
        check_fields(self, save_every=COUNT, seed=SEED)
        grpo = self.grpo
        if self.has_grpo and not (grpo.carl_weight or grpo.task_words or grpo.task_reward):
            raise InvalidValueError("grpo.carl_weight", "must be above 0 where there is no task", grpo.carl_weight)

    @property
    def has_sft(self) -> bool:
        """Whether there is supervised fine-tuning."""
        return self.method in ("sft", "sft-then-grpo")

    @property
    def has_grpo(self) -> bool:
        """Whether there is policy optimisation."""
        return self.method in ("grpo", "sft-then-grpo")
