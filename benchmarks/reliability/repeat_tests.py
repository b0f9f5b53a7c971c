"""Runs the whole test suite five times under different conditions; every run must pass.

    make test-repeat [seconds a run may take: TIMEOUT=3600]

Prints a table, and writes it as JSON with `--output`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORES = len(os.sched_getaffinity(0))
RUNS = {
    "as it is": {},
    "one thread (OMP_NUM_THREADS=1)": {"OMP_NUM_THREADS": "1"},
    f"a thread a core (OMP_NUM_THREADS={CORES})": {"OMP_NUM_THREADS": str(CORES)},
    f"beside {CORES} busy loops": {},
    "in a random order (--shuffle 1)": {},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default=2, type=int, help="Of pytest-xdist.")
    parser.add_argument("--timeout", default=3600, type=int, help="Seconds that a run may take.")
    parser.add_argument("--output", type=Path, help="JSON file for the table.")
    options = parser.parse_args()
    rows = []
    print(f"{'run':<40} {'passed':>7} {'failed':>7} {'errors':>7} {'seconds':>8}")
    for name, environment in RUNS.items():
        rows.append({"run": name, **_run(name, environment, options)})
        row = rows[-1]
        print(f"{name:<40} {row['passed']:>7} {row['failed']:>7} {row['errors']:>7} {row['seconds']:>8}", flush=True)
        print(*row["failures"], sep="\n", end="\n" if row["failures"] else "", flush=True)
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return int(any(row["code"] for row in rows))


def _run(name: str, environment: dict[str, str], options: argparse.Namespace) -> dict[str, object]:
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(options.workers), "-p", "no:cacheprovider"]
    command += ["--shuffle", "1"] if "order" in name else []
    surroundings = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"} | environment
    started = time.monotonic()
    with ExitStack() as stack:
        for _ in range(CORES if "busy" in name else 0):
            loop = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(loop.kill)
        try:
            result = subprocess.run(
                command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=options.timeout
            )
            code, out = result.returncode, result.stdout
        except subprocess.TimeoutExpired as late:
            code, out = 124, (late.stdout or b"").decode()
    counts = {kind: int(found[-1]) if (found := re.findall(rf"(\d+) {kind}", out)) else 0
              for kind in ("passed", "failed", "error")}  # fmt: skip
    failures = re.findall(r"^(?:FAILED|ERROR) .*$", out, re.MULTILINE)
    return {"code": code, "passed": counts["passed"], "failed": counts["failed"], "errors": counts["error"],
            "seconds": round(time.monotonic() - started), "failures": failures}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
