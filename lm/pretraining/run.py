"""Pretrains a causal LM with transformers' Trainer, and writes a model folder."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from lm.data.control_codes import ControlCodes
from lm.data.documents import TokenStream, TokenWindows, cached_token_stream, read_documents, require_documents
from lm.data.text_files import format_of
from lm.default_dtype import float32_by_default
from lm.device import has_fast_bfloat16
from lm.errors import InvalidValueError
from lm.evaluation.reference_statistics import score_stream
from lm.evaluation.scoring import TextScore
from lm.model_names import resolve
from lm.models.bundle import save_bundle
from lm.models.new_model import build_model, require_memory_to_train
from lm.models.reference_statistics import ReferenceStatistics
from lm.pretraining.config import DataConfig, PretrainConfig, TrainingConfig
from lm.pretraining.muon import MuonWithAdamW
from lm.pretraining.trainer_checkpoints import last_whole_checkpoint, naming_a_full_disk, take_up, train_to_the_end
from lm.pretraining.trainer_control import TrainerRunControl
from lm.runs import run_folder
from lm.runs.events import logged
from lm.runs.progress import Report, ignore
from lm.runs.stop import StopRequest
from lm.runs.whole_file import write_json
from lm.runs.whole_folder import write_whole_folder
from lm.tokenizers.tokenization import load_tokenizer, save_tokenizer, train_bpe

LENGTH_OF_RUN = frozenset({"training.epochs", "training.max_steps", "training.patience"})
"""Fields that may change when a run is resumed."""


@dataclass(frozen=True)
class PretrainResult:
    """Result of a pretraining run."""

    model_folder: Path
    """Folder of the model: weights, tokenizer, reference statistics, model card."""
    validation: TextScore
    num_parameters: int
    steps: int


@float32_by_default()
def pretrain(
    config: PretrainConfig,
    output_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> PretrainResult:
    """Train a model and save it as a bundle in ``output_dir/model``; checkpoints and logs lie beside it.

    Args:
        config: configuration of the run.
        output_dir: folder of the run.
        resume: continue from the last whole checkpoint in `output_dir`, if there is one: with the same configuration,
            machine and number of threads to the weights of an uninterrupted run, bit for bit. Only the length of the
            run may differ; the learning rate follows the new length's cosine from there on.
        overwrite: replace what `output_dir` holds.
        progress: receives the progress after every step.
        stop: stop request: finish, with the weights learned so far, or cancel, with a checkpoint.
        callbacks: additional transformers callbacks.

    Raises:
        OutputExistsError: `output_dir` holds a run, and neither `resume` nor `overwrite` is True.
        CheckpointError: the run to resume has another configuration.
        DivergedError: weights have become NaN or infinite.
        RunCancelledError: `stop` requested a cancel.
        InvalidValueError: a value of `config` is out of range.
    """
    asked: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "adjustable": LENGTH_OF_RUN}
    folder = run_folder.require_claimable(output_dir, "pretrain", config, **asked)
    _require_sources(config.data)
    with _tokenizer_folder(config.data, folder, resume=resume) as tokenizer_folder:
        tokenizer = load_tokenizer(str(tokenizer_folder))
        train, validation = _streams(config.data, tokenizer)
        windows = _windows(config, train)
        require_memory_to_train(config.model, len(tokenizer), config.training.batch_size)
        with run_folder.claimed(output_dir, "pretrain", config, **asked) as folder:
            if config.data.tokenizer is None and not (folder / "tokenizer").is_dir():
                with write_whole_folder(folder / "tokenizer") as partial:
                    save_tokenizer(tokenizer, partial)
            control = TrainerRunControl("Pretraining", logged(progress, folder), stop, config.tokens_per_step)
            return _pretrain_in(folder, config, resume, [control, *callbacks], stop, tokenizer, windows, validation)


def _pretrain_in(
    folder: Path,
    config: PretrainConfig,
    resume: bool,
    callbacks: Sequence[TrainerCallback],
    stop: StopRequest | None,
    tokenizer: PreTrainedTokenizerBase,
    windows: TokenWindows,
    validation: TokenStream,
) -> PretrainResult:
    train = windows.stream
    set_seed(config.training.seed)
    model = build_model(config.model, tokenizer)
    codes = ControlCodes(train.tokens, model.config.vocab_size, config.control_codes, config.training.seed)
    has_gates = config.model.family == "gated" and config.model.gated
    arguments = _training_arguments(config, folder, len(train.tokens))
    trainer = _PretrainTrainer(
        model=model,
        args=arguments,
        train_dataset=windows,
        eval_dataset=validation,
        data_collator=codes if has_gates else codes.plain_batch,
        callbacks=[*callbacks, _WindowsOfEpoch(windows), *_early_stopping(config.training)],
        optimizer_cls_and_kwargs=_optimizer(config.training),
    )
    trainer.remove_callback(PrinterCallback)  # a library function prints nothing
    trainer.context_length = config.model.context_length
    checkpoint = last_whole_checkpoint(folder / "checkpoints") if resume else None
    with naming_a_full_disk(folder):
        steps = train_to_the_end(trainer, checkpoint, arguments.max_steps, stop)

    score = trainer.score_validation()
    result = PretrainResult(
        model_folder=folder / "model",
        validation=score,
        num_parameters=model.num_parameters(),
        steps=steps,
    )
    statistics = ReferenceStatistics.from_tokens(train.tokens, model.config.vocab_size, human_entropy=score.entropy)
    facts = {
        "parameters": result.num_parameters,
        "steps": result.steps,
        "training tokens in the data": len(train.tokens),
        "training tokens seen": result.steps * config.tokens_per_step,
        "validation loss [nats per token]": round(score.loss, 4),
        "validation bits per byte": round(score.bits_per_byte, 4),
        "mean entropy on validation text [nats]": round(score.entropy, 4),
    }
    with naming_a_full_disk(folder):
        save_bundle(result.model_folder, model, tokenizer, statistics, save_dtype=config.save_dtype, facts=facts)
        write_json(folder / "metrics.json", facts)
    return result


@float32_by_default()
def _require_sources(config: DataConfig) -> None:
    """Read all documents of every file, before a folder is touched."""
    is_split = config.validation is not None and config.validation.startswith("split:")
    if is_split and format_of(config.train, "data.train") is not None:
        rule = "may name a split only where `data.train` is a dataset on the hub"
        raise InvalidValueError("data.validation", rule, config.validation)
    for name in ("train", "validation"):
        source = getattr(config, name)
        if source is not None and not (name == "validation" and is_split):
            require_documents(source, text_field=config.text_field, parameters=(f"data.{name}", "data.text_field"))


class _PretrainTrainer(Trainer):
    """The Trainer, with validation by `lm.evaluation.scoring`: whole documents, bits per byte."""

    eval_dataset: TokenStream
    context_length: int

    def score_validation(self) -> TextScore:
        """Score the validation documents without gates."""
        return score_stream(self.model, self.eval_dataset, self.context_length)

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Validation loss [nats per token], bits per byte and mean entropy [nats]."""
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.args.bf16):
            score = self.score_validation()
        metrics = {
            f"{metric_key_prefix}_loss": score.loss,
            f"{metric_key_prefix}_bits_per_byte": score.bits_per_byte,
            f"{metric_key_prefix}_entropy": score.entropy,
        }
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _WindowsOfEpoch(TrainerCallback):
    """Sets the epoch of the windows, which accelerate omits in the first epoch of a resumed run."""

    def __init__(self, windows: TokenWindows) -> None:
        self._windows = windows

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sets the epoch from the trainer's state."""
        self._windows.set_epoch(math.floor(state.epoch or 0))


class _EarlyStopping(EarlyStoppingCallback):
    """Early stopping whose count survives a resume."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Restores the count."""
        super().on_train_begin(args, state, control, **kwargs)
        take_up(self, state)
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True


@contextmanager
def _tokenizer_folder(config: DataConfig, folder: Path, *, resume: bool) -> Iterator[str | Path]:
    """Folder of the tokenizer; a newly trained one is in a temporary folder."""
    if config.tokenizer is not None:
        yield resolve(config.tokenizer)
    elif resume and (folder / "tokenizer").is_dir():
        yield folder / "tokenizer"
    else:
        names = ("data.train", "data.text_field")
        documents = read_documents(config.train, text_field=config.text_field, parameters=names)
        with tempfile.TemporaryDirectory() as trained:
            save_tokenizer(train_bpe(documents, config.vocab_size), Path(trained))
            yield trained


def _streams(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[TokenStream, TokenStream]:
    def stream(name: str, source: str, split: str = "train") -> TokenStream:
        names = (f"data.{name}", "data.text_field")
        options: dict[str, Any] = {"text_field": config.text_field, "split": split, "parameters": names}
        return cached_token_stream(source, tokenizer, config.cache_dir, **options)

    train = stream("train", config.train)
    if config.validation is None:
        return train.split(config.validation_fraction, "data.validation_fraction")
    if config.validation.startswith("split:"):
        return train, stream("train", config.train, config.validation.removeprefix("split:"))
    return train, stream("validation", config.validation)


def _windows(config: PretrainConfig, train: TokenStream) -> TokenWindows:
    length, batch_size = config.model.context_length, config.training.batch_size
    if len(train.tokens) < 2 * length:
        rule = f"must hold at least two windows of `model.context_length` ({length}) tokens"
        kept = " beside the validation text" if config.data.validation is None else ""
        raise InvalidValueError("data.train", rule, f"{len(train.tokens)} tokens{kept} in {config.data.train}")
    windows = TokenWindows(train, length, config.training.seed)
    if len(windows) < batch_size:
        rule = f"must be at most the {len(windows)} windows of the training text"
        raise InvalidValueError("training.batch_size", rule, batch_size)
    return windows


def _training_arguments(config: PretrainConfig, folder: Path, num_tokens: int) -> TrainingArguments:
    training = config.training
    precision = training.precision
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16("cuda" if torch.cuda.is_available() else "cpu") else "float32"
    steps = training.max_steps
    if steps <= 0:
        steps = math.ceil(training.epochs * (num_tokens / config.tokens_per_step))
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation,
        learning_rate=training.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr": training.min_learning_rate},
        warmup_steps=round(training.warmup_ratio * steps),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        adam_beta2=0.95,
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        use_cpu=not torch.cuda.is_available(),
        torch_compile=training.compile,
        eval_strategy="steps",
        eval_steps=training.evaluate_every,
        save_strategy="steps",
        save_steps=training.evaluate_every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_bits_per_byte",
        greater_is_better=False,
        logging_steps=max(1, min(50, training.evaluate_every // 5)),
        report_to=["tensorboard"],
        disable_tqdm=True,
        dataloader_drop_last=True,
        remove_unused_columns=False,
        seed=training.seed,
        data_seed=training.seed,
    )


def _optimizer(config: TrainingConfig) -> tuple[Any, dict[str, Any]] | None:
    if config.optimizer == "adamw":
        return None
    # The Trainer calls what is no Optimizer class as `factory()(model, **kwargs)`.
    arguments = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    return (lambda: MuonWithAdamW), arguments


def _early_stopping(config: TrainingConfig) -> list[TrainerCallback]:
    return [_EarlyStopping(config.patience)] if config.patience > 0 else []
