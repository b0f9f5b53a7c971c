"""Where a benchmark's figures are kept, with the command, machine and versions that made them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lm.runs.provenance import provenance

RESULTS = Path(__file__).parent / "results"


def write_result(name: str, content: dict[str, Any]) -> Path:
    """Write ``results/<name>.json`` with its provenance, and return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    record = {"command": command, "made_with": asdict(provenance()), **content}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    return path
