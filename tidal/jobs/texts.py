"""The jobs that measure and write text with a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.episodes.env_config import EnvConfig
from lm.data.documents import read_documents, tokenize_documents
from lm.data.text_files import require_text
from lm.errors import InvalidValueError
from lm.evaluation.reference_statistics import measure_reference_statistics
from lm.evaluation.scoring import TokenScores, score_tokens, summarize
from lm.model_names import resolve
from lm.models.bundle import load_model
from lm.models.reference_statistics import FILE_NAME
from lm.models.text_config import context_length_of, vocab_size_of
from lm.paths import user_path
from lm.runs.output_file import require_writable
from lm.runs.progress import Progress, Report, ignore
from lm.runs.stop import StopRequest
from lm.runs.whole_file import write_json
from lm.tokenizers.tokenization import load_tokenizer
from tidal.jobs.agent_names import trained_env
from tidal.jobs.config import GenerateConfig, ScoreConfig, StatisticsConfig
from tidal.jobs.optional_folder import claimed_if_given
from tidal.jobs.registry import JobResult

if TYPE_CHECKING:
    from agents.episodes.drawn_tokens import DrawnToken

SCORES_FILE, TEXT_FILE = "scores.json", "text.json"


def statistics(
    config: StatisticsConfig,
    folder: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Measure H* and n-gram counts, and write the statistics file; `overwrite` replaces the file as well."""
    source = resolve(config.model)
    with claimed_if_given(folder, "statistics", config, progress, overwrite=overwrite) as (folder, report):
        target = user_path(config.output) if config.output else (folder or Path(source)) / FILE_NAME
        return _measure(config, source, target, overwrite, report, stop)


def _measure(
    config: StatisticsConfig, source: str, target: Path, overwrite: bool, report: Report, stop: StopRequest | None
) -> JobResult:
    if not target.parent.is_dir():
        rule = "must name a file in an existing folder; a model from the hub has no folder to write to"
        raise InvalidValueError("output", rule, target)
    target = require_writable(target, overwrite=overwrite)
    documents = list(read_documents(config.data, text_field=config.text_field, parameters=("data", "text_field")))
    if len(documents) < 2:
        rule = "must hold at least two documents, one to count and one to measure H* on"
        raise InvalidValueError("data", rule, f"{len(documents)} in {config.data}")
    model, tokenizer = load_model(source), load_tokenizer(source)
    report(Progress("Reading the text", 0, 2, "parts"))
    stream = tokenize_documents(documents, tokenizer)
    train, held_out = stream.split(config.held_out, "held_out")
    if stop is not None:
        stop.raise_if_cancelled()
    report(Progress(f"Measuring H* on {held_out.num_documents:,} documents", 1, 2, "parts"))
    found = measure_reference_statistics(model, train, held_out, context_length_of(model))
    found.save(target)
    report(Progress("Measured", 2, 2, "parts"))
    figures = {
        "human_entropy": found.human_entropy,
        "measured_tokens": len(held_out.tokens),
        "counted_tokens": len(train.tokens),
        "bigrams": len(found.bigram_keys),
    }
    return JobResult(figures, {"statistics": target})


def score(
    config: ScoreConfig,
    folder: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Score a text; with a run folder, the figures are written to its ``scores.json``."""
    documents = _documents(config)
    source = resolve(config.model)
    model, tokenizer = load_model(source), load_tokenizer(source)
    stream = tokenize_documents(documents, tokenizer)
    ids = [stream.document(index) for index in range(stream.num_documents)]
    top_k = min(config.top_k, vocab_size_of(model)) if config.per_token else 0
    with claimed_if_given(folder, "score", config, progress, overwrite=overwrite) as (folder, _):
        figures = _score(config, model, tokenizer, stream, ids, top_k)
        if folder is None:
            return JobResult(figures)
        write_json(folder / SCORES_FILE, figures)
        return JobResult(figures, {"scores": folder / SCORES_FILE})


def _score(config: ScoreConfig, model: Any, tokenizer: Any, stream: Any, ids: list[Any], top_k: int) -> dict[str, Any]:
    scores = score_tokens(model, ids, context_length=context_length_of(model), top_k=top_k)
    summary = summarize(scores, int(stream.document_bytes.sum()))
    figures: dict[str, Any] = {
        "model": config.model,
        "documents": stream.num_documents,
        "tokens": summary.num_tokens,
        "bytes": summary.num_bytes,
        "loss": summary.loss,
        "perplexity": summary.perplexity,
        "bits_per_byte": summary.bits_per_byte,
        "entropy": summary.entropy,
    }
    if config.per_token:
        figures["per_token"] = [token for document in scores for token in _token_rows(document, tokenizer)]
    return figures


def _documents(config: ScoreConfig) -> list[str]:
    if config.file is not None:
        documents = list(read_documents(config.file, parameters=("file", "text")))
        if not documents:
            raise InvalidValueError("file", "must hold at least one document that is not empty", config.file)
        return documents
    text = require_text(config.text, "text")
    if not text.strip():
        raise InvalidValueError("text", "must not be empty", repr(text))
    return [text]


def _token_rows(scores: TokenScores, tokenizer: Any) -> list[dict[str, Any]]:
    """Each token of a document with surprisal and entropy [nats] and the most probable tokens at its place."""
    return [
        {
            "token": tokenizer.decode([int(token)]),
            "surprisal": float(surprisal),
            "entropy": float(entropy),
            "top": [
                {"token": tokenizer.decode([int(likely)]), "probability": float(probability)}
                for likely, probability in zip(likely_ids, probabilities, strict=True)
            ],
        }
        for token, surprisal, entropy, likely_ids, probabilities in zip(
            scores.token_ids, scores.surprisal, scores.entropy, scores.top_ids, np.exp(scores.top_log_probs),
            strict=True,
        )
    ]  # fmt: skip


def generate(
    config: GenerateConfig,
    folder: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Continue a text; with a run folder, the figures are written to its ``text.json``.

    A generation that is asked to finish keeps what it has written. Details: a list of drawn tokens.
    """
    tokens = drawn_tokens(config)
    with claimed_if_given(folder, "generate", config, progress, overwrite=overwrite) as (folder, report):
        result = _generate(config, tokens, report, stop)
        if folder is None:
            return result
        write_json(folder / TEXT_FILE, result.figures)
        return replace(result, files={"text": folder / TEXT_FILE})


def _generate(
    config: GenerateConfig, tokens: Iterator[DrawnToken], report: Report, stop: StopRequest | None
) -> JobResult:
    drawn: list[DrawnToken] = []
    for token in tokens:
        drawn.append(token)
        report(Progress("Generating", len(drawn), config.max_tokens, "tokens"))
        if stop is not None and stop.is_requested:
            stop.raise_if_cancelled()
            break
    text = "".join(token.text for token in drawn)
    return JobResult({"prompt": config.prompt, "text": text, "tokens": [asdict(token) for token in drawn]},
                     details=drawn)  # fmt: skip


def drawn_tokens(config: GenerateConfig) -> Iterator[DrawnToken]:
    """The tokens that continue the prompt, each as it is drawn.

    Raises:
        InvalidValueError: an option is out of its range, with the first token.
    """
    from agents.baselines.baselines import Fixed, Neutral
    from agents.generation.gated_generation import generate_tokens
    from agents.policy.controller import Controller

    agent: Any = Neutral()
    if config.controller is not None:
        agent = Controller.load(config.controller)
    elif config.gates is not None:
        agent = Fixed(config.gates)
    env = _with_options(trained_env(agent, _given(config)) or EnvConfig(**_given(config)), config)
    return generate_tokens(
        agent, env, config.prompt, max_tokens=config.max_tokens, seed=config.seed, stop=config.stop
    )


def _given(config: GenerateConfig) -> dict[str, Any]:
    """Environment fields that are not taken from a controller; generation needs no reward."""
    named = {"model": config.model, "statistics": config.statistics}
    unpaid = {"reward": "tidal", "reward_weights": None, "judge": None, "cost": None, "cost_bound": None, "carl": None}
    return {name: value for name, value in named.items() if value is not None} | unpaid | {"prompts": "train"}


def _with_options(env: EnvConfig, config: GenerateConfig) -> EnvConfig:
    given = {"base_temperature": config.temperature, "top_k": config.top_k, "top_p": config.top_p}
    modulation = {**(env.modulation or {}), **{name: value for name, value in given.items() if value is not None}}
    return replace(env, modulation=modulation)
