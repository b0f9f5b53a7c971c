"""`tidal statistics`: measures the reference statistics of a model that the environment needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from lm.passed_files import BundledInFiles, InsideInFiles, TextInFiles
from tidal.cli.console import errors, print_figures, print_next
from tidal.cli.parsing import add_overwrite, new_parser


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

    from lm.data.documents import read_documents, tokenize_documents
    from lm.errors import InvalidValueError
    from lm.evaluation.reference_statistics import measure_reference_statistics
    from lm.model_names import resolve
    from lm.models.bundle import load_model
    from lm.models.reference_statistics import FILE_NAME
    from lm.models.text_config import context_length_of
    from lm.paths import user_path
    from lm.runs.output_file import require_writable
    from lm.tokenizers.tokenization import load_tokenizer

    if not 0 < options.held_out < 1:
        raise InvalidValueError("held_out", "must lie between 0 and 1", options.held_out)
    source = resolve(options.model)
    target = user_path(options.output) if options.output else Path(source) / FILE_NAME
    if not target.parent.is_dir():
        rule = "must name a file in an existing folder; a model from the hub has no folder to write to"
        raise InvalidValueError("output", rule, target)
    target = require_writable(target, overwrite=options.overwrite)
    names = ("data", "text_field")
    documents = list(read_documents(options.data, text_field=options.text_field, parameters=names))
    if len(documents) < 2:
        rule = "must hold at least two documents, one to count and one to measure H* on"
        raise InvalidValueError("data", rule, f"{len(documents)} in {options.data}")
    model, tokenizer = load_model(source), load_tokenizer(source)
    with errors.status("Reading the text"):
        stream = tokenize_documents(documents, tokenizer)
    train, held_out = stream.split(options.held_out, "held_out")
    with errors.status(f"Measuring H* on {held_out.num_documents:,} documents"):
        statistics = measure_reference_statistics(model, train, held_out, context_length_of(model))
    statistics.save(target)

    figures = {
        "H*": f"{statistics.human_entropy:.4f} nats, on {len(held_out.tokens):,} tokens",
        "Counted": f"{len(train.tokens):,} tokens, {len(statistics.bigram_keys):,} different bigrams",
        "File": str(target),
    }
    print_figures(f"Statistics of {options.model}", figures)
    where = f" --env.statistics {target}" if options.output else ""
    print_next({"train a controller": f"tidal train --model {options.model}{where} --output runs/controller"})
    return 0
