"""`tidal score`: loss, perplexity and bits per byte of a text under a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.table import Table

from lm.passed_files import BundledInFiles, TextInFiles
from tidal.cli.console import output, print_figures
from tidal.cli.parsing import new_parser


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("score", "Compute loss, perplexity and bits per byte of a text under a language model.")
    add = parser.add_option
    add("text", type=str, nargs="?", help="Text to score; - reads it from standard input.")
    add("--file", type=TextInFiles | None, default=None,
        help="File to score instead: .txt (documents separated by a line "
        "<|endoftext|>), or .jsonl or .parquet with a column `text`.")  # fmt: skip
    add("--model", type=BundledInFiles, default="tidal-tiny",
        help="Language model: a bundled name, a folder or a hub id.")  # fmt: skip
    add("--per_token", action="store_true", help="Show the surprisal of each token and the most probable tokens.")
    add("--top_k", type=int, default=3, help="Number of most probable tokens to show with --per_token, at least 0.")
    add("--json", action="store_true", help="Print JSON.")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the scores."""
    options = make_parser().parse_args(list(arguments))

    from lm.data.documents import tokenize_documents
    from lm.evaluation.scoring import score_tokens, summarize
    from lm.model_names import resolve
    from lm.models.bundle import load_model
    from lm.models.text_config import context_length_of, vocab_size_of
    from lm.tokenizers.tokenization import load_tokenizer

    documents = _documents(options)
    source = resolve(options.model)
    model, tokenizer = load_model(source), load_tokenizer(source)
    stream = tokenize_documents(documents, tokenizer)
    ids = [stream.document(index) for index in range(stream.num_documents)]
    top_k = min(options.top_k, vocab_size_of(model)) if options.per_token else 0
    scores = score_tokens(model, ids, context_length=context_length_of(model), top_k=top_k)
    summary = summarize(scores, int(stream.document_bytes.sum()))
    figures: dict[str, Any] = {
        "model": options.model,
        "documents": stream.num_documents,
        "tokens": summary.num_tokens,
        "bytes": summary.num_bytes,
        "loss": summary.loss,
        "perplexity": summary.perplexity,
        "bits_per_byte": summary.bits_per_byte,
        "entropy": summary.entropy,
    }
    tokens = [token for score in scores for token in _token_rows(score, tokenizer)] if options.per_token else []
    if options.json:
        content = figures | ({"per_token": tokens} if options.per_token else {})
        print(json.dumps(content, indent=2))
        return 0
    if options.per_token:
        output.print(_per_token_table(tokens))
        output.print()
    print_figures(
        f"Scored by {options.model}",
        {
            "Documents": f"{stream.num_documents:,}",
            "Tokens": f"{summary.num_tokens:,}, {summary.num_bytes:,} bytes",
            "Loss": f"{summary.loss:.4f} nats/token",
            "Perplexity": f"{summary.perplexity:.3f}",
            "Bits per byte": f"{summary.bits_per_byte:.4f}",
            "Entropy": f"{summary.entropy:.4f} nats",
        },
    )
    return 0


def _documents(options: Namespace) -> list[str]:
    from lm.data.documents import read_documents
    from lm.data.text_files import require_text, standard_input
    from lm.errors import InvalidValueError

    if (options.text is None) == (options.file is None):
        received = "neither" if options.text is None else "both"
        raise InvalidValueError("text", "or `file` must be given, and not both", received)
    if options.top_k < 0:
        raise InvalidValueError("top_k", "must be at least 0", options.top_k)
    if options.file is not None:
        documents = list(read_documents(options.file, parameters=("file", "text")))
        if not documents:
            raise InvalidValueError("file", "must hold at least one document that is not empty", options.file)
        return documents
    text = standard_input("text") if options.text == "-" else require_text(options.text, "text")
    if not text.strip():
        raise InvalidValueError("text", "must not be empty", repr(text))
    return [text]


def _token_rows(score: Any, tokenizer: Any) -> list[dict[str, Any]]:
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
            score.token_ids, score.surprisal, score.entropy, score.top_ids, _exp(score.top_log_probs), strict=True
        )
    ]


def _exp(log_probs: Any) -> Any:
    import numpy as np

    return np.exp(log_probs)


def _per_token_table(tokens: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("token")
    table.add_column("surprisal", justify="right")
    table.add_column("entropy", justify="right")
    table.add_column("most likely", style="dim")
    for token in tokens:
        likely = "  ".join(f"{entry['token']!r} {entry['probability']:.0%}" for entry in token["top"])
        table.add_row(repr(token["token"]), f"{token['surprisal']:.2f}", f"{token['entropy']:.2f}", likely)
    return table
