"""Bad command lines, bad calls and damaged files by the hundreds: ``make fuzz``.

    python -m tests.fuzz [--part lines calls files] [--seed 0] [--share 1.0] [--workers 2] [--output FILE]

Prints every fault and a table; the exit code is 1 where there was one. The same seed tries the same things.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    CUDA_VISIBLE_DEVICES="",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
)
sys.tracebacklimit = 12


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", default=["lines", "calls", "files"], choices=["lines", "calls", "files"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="Of the cases; 1 is all of them.")
    parser.add_argument("--only", default="", help="Only cases whose description contains this.")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, help="JSON file for figures and faults.")
    options = parser.parse_args()

    from tests.fuzz.materials import make_materials
    from tests.fuzz.outcome_counts import count_outcomes
    from tests.fuzz.parts import PARTS

    with tempfile.TemporaryDirectory(prefix="tidal-fuzz-") as folder:
        os.environ["HF_HOME"] = os.path.join(folder, "hub")
        materials = make_materials(Path(folder, "materials"))
        totals, seconds = [], []
        for name in options.part:
            started = time.monotonic()
            cases, attempt = PARTS[name](materials, options.seed)
            cases = [case for case in cases if options.only in case.why]
            cases = cases[: max(1, round(options.share * len(cases)))]
            totals.append(count_outcomes(name, cases, attempt, options.workers))
            seconds.append(round(time.monotonic() - started))
    for total in totals:
        for fault in total.faults:
            print(f"{fault['kind'].upper()}: {fault['case']}\n    {_end(fault['seen'])}")
    rows = [{**total.row(), "seconds": spent} for total, spent in zip(totals, seconds, strict=True)]
    print("  ".join(f"{name:>9}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value:>9}" for value in row.values()))
    if options.output:
        content = {"figures": rows, "faults": [fault for total in totals for fault in total.faults]}
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return int(any(total.faults for total in totals))


def _end(text: str) -> str:
    return " ".join(text.split())[-600:]


if __name__ == "__main__":
    sys.exit(main())
