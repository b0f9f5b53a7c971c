"""`tidal statistics`: measures the reference statistics of a model that the environment needs."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from lm.passed_files import BundledInFiles, InsideInFiles, TextInFiles
from tidal.cli.console import print_figures, print_next
from tidal.cli.parsing import add_overwrite, new_parser
from tidal.cli.running import run_job
from tidal.jobs.config import StatisticsConfig


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("statistics", "Measure the reference statistics of a model that the environment needs, "
        "on human text: mean entropy H*, unigram counts and bigram counts.")  # fmt: skip
    add = parser.add_option
    add("--model", type=BundledInFiles, required=True, help="Language model: a bundled name, a folder or a hub id.")
    add("--data", type=TextInFiles, required=True,
        help="Text: a .txt file (documents separated by a line <|endoftext|>), "
        ".jsonl, .parquet, or a dataset id on the hub.")  # fmt: skip
    add("--text_field", type=str, default="text", help="Column that holds the text, for all sources but .txt.")
    add("--held_out", type=float, default=0.02, help="Share of the documents, the last ones, that H* is measured on, "
        "in (0, 1). N-grams are counted on the others.")  # fmt: skip
    add("--output", type=InsideInFiles | None, default=None,
        help="File to write. Default: the statistics file in the model's "
        "folder, which is loaded with the model.")  # fmt: skip
    add_overwrite(parser, "Replace the file if it exists.")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Measure and write the file."""
    options = make_parser().parse_args(list(arguments))

    config = StatisticsConfig(options.model, options.data, options.text_field, options.held_out, options.output)
    job = run_job("statistics", config, overwrite=options.overwrite)
    found, target = job.figures, job.files["statistics"]

    figures = {
        "H*": f"{found['human_entropy']:.4f} nats, on {found['measured_tokens']:,} tokens",
        "Counted": f"{found['counted_tokens']:,} tokens, {found['bigrams']:,} different bigrams",
        "File": str(target),
    }
    print_figures(f"Statistics of {options.model}", figures)
    where = f" --env.statistics {target}" if options.output else ""
    print_next({"train a controller": f"tidal train --model {options.model}{where} --output runs/controller"})
    return 0
