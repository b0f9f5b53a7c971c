"""Hashes of the result files of a run, to compare two runs bit for bit.

``python benchmarks/reliability/final_result.py FOLDER [FOLDER ...]`` prints the files whose hashes differ between the
first folder and another one, and ends with 1 if there are any. Times are left out, and so are checkpoints, the event
log and TensorBoard's logs, which hold them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from safetensors import safe_open

NOT_COMPARED = {"checkpoints", "tensorboard", "events.jsonl"}
"""Folders and files that are not compared."""

TIMES = {"seconds", "step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second"}
"""JSON keys that are not compared, at any depth."""

OF_THE_PROCESS = {"command", "created", "finished", "versions", "git_revision"}
"""Keys of a run's record that describe the process and its times rather than the result."""


def final_result(folder: Path) -> dict[str, str]:
    """A hash for each file of a run's folder, by its path within."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    relative = {path: path.relative_to(folder) for path in files}
    return {
        str(name): hashlib.sha256(_content(path)).hexdigest()[:16]
        for path, name in relative.items()
        if not NOT_COMPARED.intersection(name.parts)
    }


def _content(path: Path) -> bytes:
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as tensors:  # entries come in any order
            return b"".join(
                f"{name} {tensors.get_slice(name).get_dtype()} {tensors.get_slice(name).get_shape()} ".encode()
                + tensors.get_tensor(name).tobytes()
                for name in sorted(tensors.keys())
            )
    if path.suffix == ".jsonl":
        lines = path.read_text(encoding="utf-8").splitlines()
        return b"\n".join(_without(line, TIMES) for line in lines)
    if path.suffix == ".json":
        left_out = TIMES | OF_THE_PROCESS if path.name == "run.json" else TIMES
        return _without(path.read_text(encoding="utf-8"), left_out)
    return path.read_bytes()


def _without(text: str, left_out: set[str]) -> bytes:
    def stripped(content: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in content.items() if key not in left_out}

    return json.dumps(json.loads(text, object_hook=stripped)).encode()


def main(folders: list[str]) -> int:
    """Compares the folders; returns the exit code."""
    first, *others = (final_result(Path(folder)) for folder in folders)
    code = 0
    for folder, other in zip(folders[1:], others, strict=True):
        for name in sorted(first.keys() | other.keys()):
            if first.get(name) != other.get(name):
                print(f"{folder}: {name} differs")
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
