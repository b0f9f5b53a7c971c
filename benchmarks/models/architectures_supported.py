"""Tests every causal LM architecture of the installed transformers with tiny random weights: right, refused or wrong.

Each architecture is saved, loaded and read token by token in rows that are reset and copied at random. Independently of
the self-test, every prediction is compared with an uncached forward pass of that row's text. `wrong` counts
architectures with different predictions or exceptions other than the project's; it must be 0.

    python benchmarks/models/architectures_supported.py            # minutes; each architecture in a process of its own
    python benchmarks/models/architectures_supported.py --only llama gemma3
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
import textwrap
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchmarks.models.tiny_config import tiny_config
from benchmarks.results_file import write_result
from lm.errors import TidalGymError
from lm.models.bundle import load_model, without_progress_bars
from lm.models.text_config import context_length_of, vocab_size_of
from lm.streams.opening import open_stream

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- architectures: written by benchmarks/models/architectures_supported.py -->\n", "<!-- end -->\n"

CAPACITIES = (12, 24, 40)
"""Text lengths below and above the window (16) and the original context of scaled rotary embeddings (32)."""
NUM_ROWS = 5
TOLERANCE = 1e-3
"""Largest difference of a logit [in standard deviations of the logits]."""


def main() -> None:
    """Tests each architecture and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES), metavar="MODEL_TYPE")
    parser.add_argument("--steps", type=int, default=30, help="Single steps for each capacity.")
    parser.add_argument("--timeout", type=float, default=120.0, help="Seconds for one architecture.")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    started = time.perf_counter()
    rows = []
    with ThreadPoolExecutor(arguments.workers) as pool:
        for row in pool.map(lambda kind: _in_a_process(kind, arguments.steps, arguments.timeout), arguments.only):
            rows.append(row)
            print(f"{row['model_type']:28} {row['outcome']:8} {row['reason'][:150]}", flush=True)
    outcomes = dict(Counter(row["outcome"] for row in rows))
    print(outcomes, f"{time.perf_counter() - started:.0f} s")
    if len(rows) == len(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        content = {"transformers": transformers.__version__, "outcomes": outcomes, "architectures": rows}
        print(write_result("models/architectures_supported", content))
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}{tables(content)}{END}{after}", encoding="utf-8")
    sys.exit(outcomes.get("wrong", 0) > 0)


def tables(content: dict[str, Any]) -> str:
    """The section of docs/models.md for a result."""

    def kinds(rows: list[dict[str, Any]]) -> str:
        return textwrap.fill(", ".join(f"`{row['model_type']}`" for row in rows), 120, break_on_hyphens=False)

    rows = content["architectures"]
    right = [row for row in rows if row["outcome"] == "right"]
    whole, windowed = [row for row in right if not row["reason"]], [row for row in right if row["reason"]]
    lines = [f"transformers {content['transformers']}: " + ", ".join(
        f"{count} {outcome}" for outcome, count in sorted(content["outcomes"].items())) + ".", ""]  # fmt: skip
    lines += [f"**Right** ({len(whole)}):", "", kinds(whole), ""]
    lines += [f"**Right up to their sliding window** ({len(windowed)}), refused beyond:", "", kinds(windowed), ""]
    for outcome in ("refused", "untried", "wrong"):
        chosen = [row for row in rows if row["outcome"] == outcome]
        if chosen:
            lines += [f"| {outcome} | reason |", "|---|---|"]
            lines += [f"| `{row['model_type']}` | {_cell(row['reason'])} |" for row in chosen] + [""]
    return "\n" + "\n".join(line.rstrip() for line in lines)


def _cell(reason: str) -> str:
    """A reason as a table cell, without the words of its row."""
    text = " ".join(reason.split()).partition("cannot be run token by token here: ")
    text = (text[2] or text[0]).replace("|", "\\|").replace("<", "&lt;")
    return textwrap.shorten(re.sub(r"^The model 'FOLDER' \([^)]*\) ", "it ", text), 130, placeholder=" …")


def _in_a_process(model_type: str, steps: int, timeout: float) -> dict[str, Any]:
    context = multiprocessing.get_context("fork")  # torch is imported once; it has one thread here
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, model_type, steps))
    process.start()
    sender.close()
    found: dict[str, Any] = {"outcome": "untried", "reason": f"no result after {timeout:.0f} s"}
    try:
        if receiver.poll(timeout):
            found = receiver.recv()
    except EOFError:
        found = {"outcome": "untried", "reason": "its process ended"}
    process.kill()
    process.join()
    return {"model_type": model_type, "class": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type], **found}


def _send(sender: Any, model_type: str, steps: int) -> None:
    warnings.simplefilter("ignore")
    try:
        sender.send(try_architecture(model_type, steps))
    except Exception:
        sender.send({"outcome": "wrong", "reason": traceback.format_exc()[-1500:]})


def try_architecture(model_type: str, steps: int) -> dict[str, Any]:
    """Outcome ("right", "refused", "wrong" or "untried") and reason for one architecture."""
    torch.manual_seed(0)
    try:
        model = AutoModelForCausalLM.from_config(tiny_config(model_type)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:  # larger than at initialisation: attention and positions must matter
                    parameter.normal_(std=0.25)
            model(input_ids=torch.arange(8, 20)[None], use_cache=False)
    except Exception as error:
        return {"outcome": "untried", "reason": f"no tiny model: {type(error).__name__}: {error}"[:300]}
    with TemporaryDirectory() as folder:
        try:
            with without_progress_bars():
                model.save_pretrained(folder)
        except Exception as error:
            return {"outcome": "untried", "reason": f"cannot be saved: {type(error).__name__}: {error}"[:300]}
        try:
            model = load_model(folder)
            context_length_of(model)
        except TidalGymError as error:
            return {"outcome": "refused", "reason": str(error).replace(folder, "FOLDER")}
    compared, largest, reasons = 0, 0.0, []
    for capacity in CAPACITIES:
        try:
            count, error = compare(model, capacity, steps)
        except TidalGymError as refusal:
            reasons.append(f"{refusal}")
            break
        compared, largest = compared + count, max(largest, error)
    longest = CAPACITIES[CAPACITIES.index(capacity) - 1] if reasons else capacity
    figures = {"compared": compared, "largest_error": float(f"{largest:.1e}")}
    if not compared:
        return {"outcome": "refused", "reason": reasons[0]}
    if not largest <= TOLERANCE:
        return {"outcome": "wrong", "reason": f"a logit differs by {largest:.1e} standard deviations", **figures}
    limit = f"up to {longest} tokens; beyond: {reasons[0]}" if reasons else ""
    return {"outcome": "right", "reason": limit, **figures}


def compare(model: transformers.PreTrainedModel, capacity: int, steps: int) -> tuple[int, float]:
    """Number of predictions compared and the largest difference, in rows that are reset, read and copied at random."""
    generator = np.random.default_rng(capacity)
    vocab_size = vocab_size_of(model)

    def drawn(*shape: int) -> np.ndarray:
        return generator.integers(8, vocab_size, shape)  # the first ids are special

    streams = [open_stream(model, NUM_ROWS, capacity) for _ in range(2)]
    texts: list[list[list[int]]] = [[[] for _ in range(NUM_ROWS)] for _ in streams]
    count, largest = 0, 0.0

    def check(logits: torch.Tensor, text: list[int]) -> None:
        nonlocal count, largest
        with torch.inference_mode():
            wanted = model(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1].double()
        count += 1
        error = float((logits.double() - wanted).abs().max() / wanted.std())
        largest = max(largest, error) if error == error else float("inf")

    def begin(which: int, rows: list[int]) -> None:
        lengths = generator.integers(1, capacity // 2, len(rows))
        prompts = drawn(len(rows), int(lengths.max()))
        output = streams[which].prefill(torch.tensor(rows), torch.tensor(prompts), torch.tensor(lengths))
        for place, row in enumerate(rows):
            texts[which][row] = prompts[place, : lengths[place]].tolist()
            check(output.newest.logits[place], texts[which][row])

    for which in (0, 1):
        begin(which, list(range(NUM_ROWS)))
    for _ in range(steps):
        which = int(generator.integers(2))
        full = [row for row in range(NUM_ROWS) if len(texts[which][row]) >= capacity - 1]
        some = sorted({*full, *generator.choice(NUM_ROWS, 1).tolist()}) if generator.random() < 0.2 else full
        if some:
            begin(which, some)
        if generator.random() < 0.2:  # copies rows of the other stream, cut short
            rows, sources = generator.permutation(NUM_ROWS)[:2], generator.integers(0, NUM_ROWS, 2)
            lengths = [int(generator.integers(1, min(len(texts[1 - which][row]), capacity - 1) + 1)) for row in sources]
            streams[which].copy_rows(
                streams[1 - which], torch.tensor(rows), torch.tensor(lengths), torch.tensor(sources)
            )  # fmt: skip
            for row, source, length in zip(rows, sources, lengths, strict=True):
                texts[which][row] = texts[1 - which][source][:length]
        tokens = drawn(NUM_ROWS)
        output = streams[which].step(torch.tensor(tokens))
        for row in range(NUM_ROWS):
            texts[which][row].append(int(tokens[row]))
            check(output.logits[row], texts[which][row])
    return count, largest


if __name__ == "__main__":
    main()
