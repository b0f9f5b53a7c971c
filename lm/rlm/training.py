"""Trains a language model on a random grammar, and measures it against the exact optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from lm.default_dtype import float32_by_default
from lm.memory import require_memory
from lm.models.bundle import save_bundle, without_progress_bars
from lm.models.new_model import build_model, require_memory_to_train
from lm.models.reference_statistics import ReferenceStatistics
from lm.pretraining.muon import MuonWithAdamW
from lm.pretraining.trainer_checkpoints import last_whole_checkpoint, naming_a_full_disk, train_to_the_end
from lm.pretraining.trainer_control import TrainerRunControl
from lm.rlm import grammar as grammar_file
from lm.rlm.config import OptimizationConfig, RLMConfig
from lm.rlm.datasets import SentenceSet, SentenceStream, generator_of
from lm.rlm.dynamics import FILE_NAME as DYNAMICS_FILE, DynamicsPoint, append_point, cut_dynamics, read_dynamics
from lm.rlm.measurement import Measurement, Yardstick
from lm.rlm.optimum import Floors
from lm.rlm.symbols import symbol_tokenizer
from lm.rlm.tasks import IGNORED, Examples, Task, make_task
from lm.runs import run_folder
from lm.runs.events import logged
from lm.runs.progress import Report, ignore
from lm.runs.stop import StopRequest
from lm.runs.whole_file import write_json

FLOORS_FILE = "floors.json"
METRICS_FILE = "metrics.json"
MODEL_FOLDER = "model"

_TRAIN, _TEST, _COUNTED = range(3)
"""Independent streams of sentences."""

_COUNTED_SENTENCES = 65_536
"""Number of sentences for the token and bigram counts in the model's folder."""


@dataclass(frozen=True)
class RLMResult:
    """Result of a training run on a random grammar."""

    model_folder: Path
    """Folder of the best model by test loss: weights, tokenizer, reference statistics, grammar, model card."""
    best: DynamicsPoint
    """Measurement of the best model."""
    final: DynamicsPoint
    """Measurement after the last step."""
    floors: Floors
    """Reference losses."""
    num_parameters: int
    """Number of parameters, shared ones counted once."""


@float32_by_default()
def train_on_grammar(
    config: RLMConfig,
    output_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> RLMResult:
    """Train a model on a grammar's sentences.

    The folder gets ``run.json``, ``floors.json``, ``dynamics.jsonl`` (a :class:`DynamicsPoint` at step 0 and at each
    checkpoint), ``checkpoints/`` with TensorBoard's files, ``metrics.json`` and ``model/``, the best model as a bundle
    with its grammar beside it.

    Args:
        config: configuration of the run.
        output_dir: folder of the run.
        resume: whether to continue from the last complete checkpoint; the result equals that of an uninterrupted run.
        overwrite: whether to replace the run in the folder.
        progress: receives the progress after every step.
        stop: stop request: finish, with the weights learned so far, or cancel, with a checkpoint.
        callbacks: additional transformers callbacks.

    Raises:
        OutputExistsError: the folder holds a run, and neither `resume` nor `overwrite` is True.
        CheckpointError: the run to resume has another configuration; or the disk is full.
        DivergedError: weights have become NaN or infinite.
        RunCancelledError: `stop` requested a cancel.
        InvalidValueError: a value of `config` is out of range.
    """
    task = task_of(config)
    with run_folder.claimed(output_dir, "rlm-train", config, resume=resume, overwrite=overwrite) as folder:
        return _train_in(folder, config, task, resume, logged(progress, folder), stop, callbacks)


def task_of(config: RLMConfig) -> Task:
    """The task of a run.

    Raises:
        InvalidValueError: the memory does not hold the grammar, the model with its training, or the sentences.
    """
    task = make_task(config.examples.task, config.grammar.make())
    model = replace(config.model, context_length=task.context_length)
    require_memory_to_train(model, task.vocab_size, config.training.batch_size, vocabulary="grammar.vocab_size")
    sentence = 16 * task.context_length  # symbols and targets, 64 bits each
    for name in ("train_size", "test_size"):
        size = getattr(config.examples, name)
        require_memory(f"examples.{name}", size, "the sentences", lambda size: sentence * size)
    return task


def _train_in(
    folder: Path,
    config: RLMConfig,
    task: Task,
    resume: bool,
    progress: Report,
    stop: StopRequest | None,
    callbacks: Sequence[TrainerCallback],
) -> RLMResult:
    set_seed(config.training.seed)
    tokenizer = symbol_tokenizer(task)
    model = build_model(replace(config.model, context_length=task.context_length), tokenizer)
    if config.training.embedding_std is not None:
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=config.training.embedding_std)
    train, measured = _training_data(task, config)
    test = SentenceSet(task, config.examples.test_size, _stream_seed(config, _TEST))
    yardsticks = {"train": Yardstick(task, measured), "test": Yardstick(task, test.examples)}
    floors = yardsticks["test"].floors()

    tokens_per_step = config.training.batch_size * 2**config.grammar.depth
    control = TrainerRunControl("Training", progress, stop, tokens_per_step)
    trainer = _GrammarTrainer(
        model=model,
        args=_training_arguments(config.training, folder),
        train_dataset=train,
        eval_dataset=test,
        callbacks=[*callbacks, _MeasureAndSave(checkpoint_steps(config.training)), control],
        optimizer_cls_and_kwargs=_optimizer(config.training),
    )
    trainer.remove_callback(PrinterCallback)  # a library function prints nothing
    trainer.yardsticks = yardsticks
    trainer.config = config.training
    trainer.dynamics_path = dynamics = folder / DYNAMICS_FILE
    with naming_a_full_disk(folder), without_progress_bars():
        write_json(folder / FLOORS_FILE, asdict(floors))
        checkpoint = last_whole_checkpoint(folder / "checkpoints") if resume else None
        if checkpoint is None:
            dynamics.unlink(missing_ok=True)
            trainer.measure()
        else:
            cut_dynamics(dynamics, int(checkpoint.rpartition("-")[2]))
        train_to_the_end(trainer, checkpoint, config.training.max_steps, stop)
        points = read_dynamics(dynamics)
        best = min(points[1:], key=lambda point: point.test.loss)
        result = RLMResult(folder / MODEL_FOLDER, best, points[-1], floors, model.num_parameters())
        _save(result, config, task, model)
    return result


def checkpoint_steps(config: OptimizationConfig) -> frozenset[int]:
    """Logarithmically spaced steps from 1 to the last one; fewer than requested if some coincide."""
    return frozenset(np.geomspace(1, config.max_steps, config.checkpoints).round().astype(int).tolist()) | {
        config.max_steps
    }


class _GrammarTrainer(Trainer):
    """The Trainer, with measurements against the exact optimum."""

    yardsticks: dict[str, Yardstick]
    config: OptimizationConfig
    dynamics_path: Path

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        """The schedule, which may be longer than the run."""
        return super().create_scheduler(self.config.decay_steps or num_training_steps, optimizer)

    def get_train_dataloader(self) -> DataLoader:
        """The Trainer's dataloader; for a stream, one whose items are whole batches of this process."""
        if not isinstance(self.train_dataset, SentenceStream):
            return super().get_train_dataloader()
        return DataLoader(self.train_dataset, batch_size=None)

    def compute_loss(
        self, model: PreTrainedModel, inputs: dict[str, Tensor], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The model's own loss, without reading the last answer: half of the work for sentences of two tokens."""
        outputs = model(input_ids=inputs["input_ids"][:, :-1])
        loss = F.cross_entropy(outputs.logits.flatten(0, 1), inputs["labels"][:, 1:].flatten(), ignore_index=IGNORED)
        return (loss, outputs) if return_outputs else loss

    def measure(self) -> DynamicsPoint:
        """Measures the current model, and adds a point to the dynamics."""
        train, test = (self.yardsticks[part].measure(self.model) for part in ("train", "test"))
        step = self.state.global_step
        rate = float(self._get_learning_rate()) if step > 0 else 0.0
        point = DynamicsPoint(step, step * self.config.batch_size, rate, train, test)
        append_point(self.dynamics_path, point)
        return point

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Measure, and log the figures."""
        point = self.measure()
        figures = {**_figures(point.test), **_figures(point.train, "training_")}
        figures |= {f"excess_at_{place}": excess for place, excess in enumerate(point.test.excess_by_position)}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _MeasureAndSave(TrainerCallback):
    """Requests a measurement and a checkpoint at given steps."""

    def __init__(self, steps: frozenset[int]) -> None:
        self.steps = steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Requests them if the step is one of these."""
        is_due = state.global_step in self.steps
        control.should_log, control.should_evaluate, control.should_save = is_due, is_due, is_due


def _figures(measurement: Measurement, prefix: str = "") -> dict[str, float]:
    figures = {"loss": measurement.loss, "accuracy": measurement.accuracy, "excess": measurement.excess}
    return {f"{prefix}{name}": value for name, value in figures.items()}


def _stream_seed(config: RLMConfig, stream: int) -> int:
    return 3 * config.examples.seed + stream


def _training_data(task: Task, config: RLMConfig) -> tuple[Dataset, Examples]:
    """The training dataset, and its part for measurements."""
    seed, size = _stream_seed(config, _TRAIN), config.examples.train_size
    if size == 0:
        stream = SentenceStream(task, seed, config.training.batch_size)
        return stream, stream.first(config.examples.test_size)
    data = SentenceSet(task, size, seed)
    return data, Examples(*(tensor[: config.examples.test_size] for tensor in data.examples))


def _training_arguments(config: OptimizationConfig, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=config.max_steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine" if config.schedule == "cosine" else "constant_with_warmup",
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        use_cpu=not torch.cuda.is_available(),
        # The Trainer's own rhythm is the end of the run alone; `_MeasureAndSave` adds the steps between.
        eval_strategy="steps",
        eval_steps=config.max_steps,
        save_strategy="steps",
        save_steps=config.max_steps,
        logging_steps=config.max_steps,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        report_to=["tensorboard"],
        disable_tqdm=True,
        dataloader_drop_last=True,
        remove_unused_columns=False,
        seed=config.seed,
        data_seed=config.seed,
    )


def _optimizer(config: OptimizationConfig) -> tuple[Any, dict[str, Any]]:
    common = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "muon":
        # The Trainer calls what is no Optimizer class as `factory()(model, **kwargs)`.
        return (lambda: MuonWithAdamW), common
    fused = {"lr": config.learning_rate, "fused": True}  # a small model's step is mostly overhead
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "sgd": (torch.optim.SGD, {**fused, "momentum": config.momentum}),
        "adam": (torch.optim.Adam, fused),
        "adamw": (torch.optim.AdamW, fused),
    }
    return kinds[config.optimizer]


def _save(result: RLMResult, config: RLMConfig, task: Task, model: PreTrainedModel) -> None:
    grammar, floors, test = task.grammar, result.floors, result.best.test
    facts = {
        "grammar": f"v {grammar.vocab_size}, depth {grammar.depth}, β {grammar.beta}, seed {grammar.seed}",
        "task": task.name,
        "parameters": result.num_parameters,
        "steps": result.best.step,
        "sentences seen": result.best.sentences,
        "test loss [nats]": round(test.loss, 4),
        "optimum [nats]": round(floors.optimum, 4),
        "excess over the optimum [nats]": round(test.excess, 4),
        "bigram, unigram, uniform loss [nats]": ", ".join(
            f"{loss:.4f}" for loss in (floors.bigram, floors.unigram, floors.uniform)
        ),
        "test accuracy, best possible": f"{test.accuracy:.4f}, {floors.best_accuracy:.4f}",
    }
    counted = task.sample(_COUNTED_SENTENCES, generator_of(task, _stream_seed(config, _COUNTED)))
    tokens = counted.as_language()["input_ids"].flatten().numpy()
    statistics = ReferenceStatistics.from_tokens(tokens, task.vocab_size, human_entropy=test.entropy)
    save_bundle(result.model_folder, model, symbol_tokenizer(task), statistics, facts=facts, made_by="tidal rlm train")
    grammar.save(result.model_folder / grammar_file.FILE_NAME, dtype=torch.float32)
    write_json(result.model_folder.parent / METRICS_FILE, {**facts, "best": asdict(result.best)})
