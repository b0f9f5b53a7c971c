"""`tidal score`: loss, perplexity and bits per byte of a text under a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser
from rich.table import Table

from lm.passed_files import BundledInFiles, TextInFiles
from tidal.cli.console import output, print_figures
from tidal.cli.parsing import new_parser
from tidal.cli.running import run_job
from tidal.jobs.config import ScoreConfig


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

    text = options.text
    if text == "-" and options.file is None:
        from lm.data.text_files import standard_input

        text = standard_input("text")
    config = ScoreConfig(text, options.file, options.model, options.per_token, options.top_k)
    figures = run_job("score", config).figures
    if options.json:
        print(json.dumps(dict(figures), indent=2))
        return 0
    if options.per_token:
        output.print(_per_token_table(figures["per_token"]))
        output.print()
    print_figures(
        f"Scored by {options.model}",
        {
            "Documents": f"{figures['documents']:,}",
            "Tokens": f"{figures['tokens']:,}, {figures['bytes']:,} bytes",
            "Loss": f"{figures['loss']:.4f} nats/token",
            "Perplexity": f"{figures['perplexity']:.3f}",
            "Bits per byte": f"{figures['bits_per_byte']:.4f}",
            "Entropy": f"{figures['entropy']:.4f} nats",
        },
    )
    return 0


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
