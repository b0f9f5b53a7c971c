"""Training with CARL rewards by TRL's trainers: fine-tuning until the model crystallises, then policy optimisation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)

from lm.carl.phases import PhaseAdaptiveWeights
from lm.carl.training.config import CarlTrainConfig, PolicyConfig
from lm.carl.training.data import prompts_of, read_training_data
from lm.carl.training.grpo_reward import CarlGRPOReward
from lm.carl.training.phase_transition_gate import PhaseTransitionGate
from lm.carl.training.resuming import OrderOfPrompts, PhaseOfTraining
from lm.carl.training.task_words import WordTask
from lm.default_dtype import float32_by_default
from lm.errors import InvalidValueError
from lm.extras import require_extra
from lm.model_names import resolve
from lm.models.bundle import load_model
from lm.passed_files import read_object, record_from
from lm.pretraining.trainer_checkpoints import last_whole_checkpoint, train_to_the_end
from lm.pretraining.trainer_control import TrainerRunControl
from lm.runs import run_folder
from lm.runs.events import logged
from lm.runs.progress import Report, ignore
from lm.runs.stop import StopRequest
from lm.runs.tensors.checksums import write_checksums
from lm.runs.whole_file import write_json
from lm.runs.whole_folder import write_whole_folder
from lm.tokenizers.tokenization import load_tokenizer

if TYPE_CHECKING:
    from datasets import Dataset

MODEL_FOLDER = "model"
RESULT_FILE = "metrics.json"


@dataclass(frozen=True)
class _FineTuned:
    """File of figures of a fine-tuning; :class:`CarlTrainResult` describes them."""

    steps: int
    opened_at: int | None
    peak_entropy: float | None
    peak_entropy_step: int | None
    mean_token_accuracy: float | None


@dataclass(frozen=True)
class CarlTrainResult:
    """Result of a training run with CARL rewards."""

    model_folder: Path
    """Folder with weights and tokenizer."""
    sft: dict[str, Any] | None
    """Metrics of the fine-tuning, or None: ``steps``, ``opened_at`` (step of crystallisation, or None),
    ``peak_entropy`` [nats] and ``peak_entropy_step``, ``mean_token_accuracy`` of the last step."""
    grpo: dict[str, Any] | None
    """Metrics of the policy optimisation, or None: ``steps``, and ``log``, the logged metrics of each step."""


@float32_by_default()
def train(
    config: CarlTrainConfig,
    output_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> CarlTrainResult:
    """Train a model and save it in ``output_dir/model``; checkpoints and logs of each method lie beside it.

    Args:
        config: configuration of the run.
        output_dir: folder of the run.
        resume: continue from the last whole checkpoint: on the same machine with the same number of threads to the same
            weights as an uninterrupted run, bit for bit, if a custom `task_reward` is stateless.
        overwrite: replace what `output_dir` holds.
        progress: receives the progress after every step of a method.
        stop: stop request: finish, with the weights learned so far, or cancel, with a checkpoint.
        callbacks: additional transformers callbacks.

    Raises:
        MissingExtraError: TRL is not installed.
        OutputExistsError: `output_dir` holds a run, and neither `resume` nor `overwrite` is True.
        CheckpointError: the run to resume has another configuration.
        DivergedError: weights have become NaN or infinite.
        RunCancelledError: `stop` requested a cancel.
        InvalidValueError: the data are invalid.
    """
    require_extra("trl", "trl", "Training with CARL")
    # Before anything is read, perhaps from the hub.
    run_folder.require_claimable(output_dir, "carl-train", config, resume=resume, overwrite=overwrite)
    tokenizer, model = load_tokenizer(resolve(config.model)), load_model(resolve(config.model))
    dataset = read_training_data(config.data)
    prompts = prompts_of(dataset, config.data, tokenizer) if config.has_grpo else dataset
    rewards, reward_weights = make_rewards(config)
    for reward in rewards if config.has_grpo else ():
        if isinstance(reward, CarlGRPOReward):
            reward.load_judge()  # missed before there is a folder
    with run_folder.claimed(output_dir, "carl-train", config, resume=resume, overwrite=overwrite) as folder:
        control = _Control(logged(progress, folder), stop, callbacks)
        return _train_in(folder, config, model, tokenizer, dataset, prompts, rewards, reward_weights, control)


@dataclass(frozen=True)
class _Control:
    """Progress, stop request and additional callbacks of a run."""

    progress: Report
    stop: StopRequest | None
    callbacks: Sequence[TrainerCallback]

    def callbacks_of(self, stage: str) -> list[TrainerCallback]:
        """Callbacks of the method's trainer."""
        return [*self.callbacks, TrainerRunControl(stage, self.progress, self.stop, evaluates=False)]


def _train_in(
    folder: Path,
    config: CarlTrainConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    prompts: Dataset,
    rewards: list[Callable[..., list[float | None]]],
    reward_weights: list[float],
    control: _Control,
) -> CarlTrainResult:
    set_seed(config.seed)
    sft = grpo = None
    if config.has_sft:
        if not (folder / "sft" / RESULT_FILE).is_file():
            sft = _fine_tune(config, folder / "sft", model, tokenizer, dataset, control)
            _save(folder / "sft" / MODEL_FOLDER, model, tokenizer)
            write_json(folder / "sft" / RESULT_FILE, sft)
        sft = asdict(record_from(_FineTuned, read_object(folder / "sft" / RESULT_FILE), folder / "sft" / RESULT_FILE))
        model = load_model(str(folder / "sft" / MODEL_FOLDER))  # without what a trainer has put around it
    if config.has_grpo:
        grpo = _optimize(config, folder / "grpo", model, tokenizer, prompts, rewards, reward_weights, control)
    _save(folder / MODEL_FOLDER, model, tokenizer)
    write_json(folder / RESULT_FILE, {"sft": sft, "grpo": grpo})
    return CarlTrainResult(folder / MODEL_FOLDER, sft, grpo)


def make_rewards(config: CarlTrainConfig) -> tuple[list[Callable[..., list[float | None]]], list[float]]:
    """The reward functions of policy optimisation, and their weights.

    Raises:
        InvalidValueError: there is no such `task_reward`.
    """
    grpo = config.grpo
    rewards: list[Any] = []
    weights: list[float] = []
    if grpo.carl_weight:
        device = "cuda" if config.device == "auto" and torch.cuda.is_available() else "cpu"
        adaptive = PhaseAdaptiveWeights() if grpo.adaptive_weights else None
        judge = grpo.judge or config.model
        rewards.append(
            CarlGRPOReward(judge, composite=grpo.composite, weights=adaptive, dtype=config.precision, device=device)
        )
        weights.append(grpo.carl_weight)
    if grpo.task_words:
        rewards.append(WordTask(grpo.task_words))
    if grpo.task_reward:
        rewards.append(_task_reward(grpo))
    return rewards, weights + [grpo.task_weight] * (len(rewards) - len(weights))


def _task_reward(config: PolicyConfig) -> Any:
    module, _, attribute = str(config.task_reward).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        rule = "must name a reward function as 'module:attribute'"
        raise InvalidValueError("grpo.task_reward", rule, f"{config.task_reward!r} ({error})") from error


def _fine_tune(
    config: CarlTrainConfig,
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    control: _Control,
) -> dict[str, Any]:
    from trl import SFTConfig, SFTTrainer

    sft = config.sft
    gate = PhaseTransitionGate(sft.gate_accuracy, sft.gate_window, sft.gate_min_above)
    trainer = SFTTrainer(
        model=model.train().requires_grad_(True),
        args=SFTConfig(
            per_device_train_batch_size=sft.batch_size,
            learning_rate=sft.learning_rate,
            max_steps=sft.steps,
            max_length=sft.max_length,
            dataset_text_field=config.data.text_field,
            **_common_arguments(config, folder),
        ),
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[gate, *control.callbacks_of("Fine-tuning")],
    )
    log = _run(trainer, folder, control.stop)
    accuracies = [entry["mean_token_accuracy"] for entry in log if "mean_token_accuracy" in entry]
    return {
        "steps": trainer.state.global_step,
        "opened_at": gate.opened_at,
        "peak_entropy": gate.peak_entropy,
        "peak_entropy_step": gate.peak_entropy_step,
        "mean_token_accuracy": accuracies[-1] if accuracies else None,
    }


def _optimize(
    config: CarlTrainConfig,
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    rewards: list[Any],
    reward_weights: list[float],
    control: _Control,
) -> dict[str, Any]:
    from trl import GRPOConfig, GRPOTrainer

    grpo = config.grpo
    trainer = GRPOTrainer(
        model=model.train().requires_grad_(True),
        reward_funcs=rewards,
        args=GRPOConfig(
            per_device_train_batch_size=grpo.prompts_per_step * grpo.num_generations,
            num_generations=grpo.num_generations,
            max_completion_length=grpo.max_completion_tokens,
            temperature=grpo.temperature,
            learning_rate=grpo.learning_rate,
            max_steps=grpo.steps,
            beta=grpo.beta,
            scale_rewards=grpo.scale_rewards,
            reward_weights=reward_weights,
            **_common_arguments(config, folder),
        ),
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=control.callbacks_of("Policy optimisation"),
    )
    trainer.add_callback(OrderOfPrompts())
    for reward in rewards:
        if isinstance(getattr(reward, "weights", None), PhaseAdaptiveWeights):
            trainer.add_callback(PhaseOfTraining(reward.weights))
    log = _run(trainer, folder, control.stop)
    return {"steps": trainer.state.global_step, "log": log}


def _run(trainer: Any, folder: Path, stop: StopRequest | None) -> list[dict[str, Any]]:
    """Train from the last whole checkpoint, if there is one, and return what was logged."""
    trainer.remove_callback(PrinterCallback)  # a library function prints nothing
    train_to_the_end(trainer, last_whole_checkpoint(folder / "checkpoints"), trainer.args.max_steps, stop)
    # Trainer sorts the entries that it keeps in checkpoints, so a resumed run has them sorted.
    return [dict(sorted(entry.items())) for entry in trainer.state.log_history if "train_runtime" not in entry]


def _save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    with write_whole_folder(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        write_checksums(partial)


def _common_arguments(config: CarlTrainConfig, folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "checkpoints"),
        "use_cpu": config.device == "cpu" or not torch.cuda.is_available(),
        "bf16": config.precision == "bfloat16",
        "activation_checkpointing": config.gradient_checkpointing,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "save_total_limit": 2,
        "report_to": ["tensorboard"],
        "disable_tqdm": True,
        "seed": config.seed,
        "data_seed": config.seed,
    }
