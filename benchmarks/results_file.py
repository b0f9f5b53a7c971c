"""Writes a benchmark's figures with its command, machine and versions."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lm.runs.provenance import provenance

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def write_result(name: str, content: dict[str, Any]) -> Path:
    """Writes ``results/<name>.json`` with its provenance, and returns its path; the name begins with a topic."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    record = {"command": " ".join(["python", str(script), *sys.argv[1:]]), "made_with": asdict(provenance()), **content}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    return path
