"""Kills runs at write events and at random times, resumes them, and compares them with the uninterrupted run.

    python benchmarks/reliability/kills.py [--kills 300] [--seed 0] [--only train] [--output FILE]

A write event is the opening of a file to write, a rename, a removal, a new folder or a flush to disk, in the run's
process or one of its workers; SIGKILL comes just before it. After a kill every JSON, JSON lines and safetensors file
outside of checkpoints must be whole ("damaged"). Then the same command with `--resume` (without, where the kill came
before there was a run) must end with code 0 ("failed") and leave the files of the uninterrupted run, bit for bit except
times ("unequal"), and no partial files ("left over").
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import multiprocessing
import os
import random
import select
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    CUDA_VISIBLE_DEVICES="",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
)

from benchmarks.reliability.final_result import final_result
from tests.fuzz.materials import CARL, ENV, PPO, PRETRAIN, RLM, benchmark, make_materials, words

OUTPUT = "run"
WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
SECONDS = 300
FAULTS = ("damaged", "failed", "unequal", "left over")


@dataclass(frozen=True)
class Kill:
    """A kill of a run."""

    command: str
    """Name in ``commands``."""
    event: int | None = None
    """Number of the write event before which the run is killed."""
    share: float | None = None
    """Share of the uninterrupted run's duration after which the run is killed."""


@dataclass(frozen=True)
class UninterruptedRun:
    """Reference run that is not killed."""

    events: int
    seconds: float
    result: dict[str, str]


def commands(materials: Path) -> dict[str, list[str]]:
    """The smallest runs with several checkpoints or stages, without ``--output``."""
    model, text, prompts = str(materials / "model"), str(materials / "text.txt"), str(materials / "prompts.txt")
    warm = {
        "--warm_start.env_steps": 16,
        "--warm_start.rollout_steps": 4,
        "--warm_start.gradient_steps": 2,
        "--warm_start.batch_size": 4,
        "--warm_start.candidates": 2,
    }
    sweep = {f"--run.{name[2:]}": value for name, value in RLM.items()} | {"--values": [8, 16], "--grammars": [0]}
    carl = CARL | {"--sft.steps": 2, "--grpo.steps": 2}
    return {
        "train": ["train", "--model", model, *words(ENV | PPO | warm | {"--total_steps": 40})],
        "pretrain": ["pretrain", "--data.train", text, *words(PRETRAIN | {"--training.max_steps": 4})],
        "tune": [
            "tune",
            "--model",
            model,
            "--decoder",
            "min-p",
            "top-p",
            "top-k",
            "--env_steps",
            "64",
            "--num_envs",
            "2",
            *words(ENV),
        ],
        "benchmark": benchmark(model),
        "rlm train": ["rlm", "train", *words(RLM | {"--training.max_steps": 6, "--training.checkpoints": 4})],
        "rlm sweep": ["rlm", "sweep", *words(sweep)],
        "carl train": ["carl", "train", "--model", model, "--data.source", prompts, *words(carl)],
    }


class Counter:
    """Counter in memory shared by forked processes."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    @property
    def value(self) -> int:
        return int.from_bytes(self._memory[:8], "little")

    def add(self) -> int:
        value = self.value + 1  # two processes that write at once count as one event now and then
        self._memory[:8] = value.to_bytes(8, "little")
        return value


def run(
    command: Sequence[str], folder: Path, *, event: int | None = None, after: float | None = None
) -> tuple[int, str, int, float]:
    """Runs a command in a forked process; exit code (negative for a signal), standard error, events, seconds."""
    counter, started, log = Counter(), time.monotonic(), folder / "stderr.txt"
    child = os.fork()
    if child == 0:
        _in_child(command, folder, log, counter, event)
    descriptor = os.pidfd_open(child)
    ended = select.select([descriptor], [], [], SECONDS if after is None else after)[0]
    os.close(descriptor)
    if not ended:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # its workers, if any were left
    code = os.waitstatus_to_exitcode(status)
    return code, log.read_text(encoding="utf-8", errors="replace"), counter.value, time.monotonic() - started


def _in_child(command: Sequence[str], folder: Path, log: Path, counter: Counter, event: int | None) -> NoReturn:
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115

        def count() -> None:
            if counter.add() == event:
                os.killpg(0, signal.SIGKILL)

        def listen(name: str, arguments: tuple[Any, ...]) -> None:
            writes = name in WRITES or (name == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if writes and str(arguments[0]).startswith((OUTPUT, str(folder))):
                count()

        flush = os.fsync

        def counted_flush(descriptor: int) -> None:
            count()
            flush(descriptor)

        os.fsync = counted_flush
        sys.addaudithook(listen)
        from tidal.cli.main import main
        from tidal.jobs import executors

        # A worker is forked with the libraries loaded, and counted as well.
        executors.multiprocessing = _Forking()
        code = main(list(command))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Forking:
    parent_process = staticmethod(multiprocessing.parent_process)

    @staticmethod
    def get_context(_: str) -> Any:
        return multiprocessing.get_context("fork")


def uninterrupted(command: list[str]) -> UninterruptedRun:
    """Runs a command to the end, as the reference."""
    with tempfile.TemporaryDirectory(prefix="tidal-kills-") as name:
        folder = Path(name)
        code, said, events, seconds = run([*command, "--output", OUTPUT], folder)
        if code != 0:
            raise RuntimeError(f"{command} ended with {code}: {said}")
        return UninterruptedRun(events, seconds, compared(folder / OUTPUT))


def compared(folder: Path) -> dict[str, str]:
    """Hashes of the final result, without pages, plots and logs, which contain times.

    Of a run's record only the state is compared; other fields contain times and provenance.
    """
    untimed = (".html", ".png", ".lock", "events.jsonl", "heartbeat", "run.json")
    result = {name: one for name, one in final_result(folder).items() if not name.endswith(untimed)}
    for path in folder.rglob("run.json"):
        result[str(path.relative_to(folder))] = json.loads(path.read_text(encoding="utf-8"))["state"]
    if (path := folder / "results.json").exists():  # it says when and by what it was made
        figures = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: figures[name] for name in figures.keys() - {"made_with", "command", "seconds"}}
        result["results.json"] = json.dumps(kept, sort_keys=True)
    return result


def kill_and_resume(kill: Kill) -> dict[str, Any]:
    """Kills and resumes a run; returns the faults found."""
    command, whole = _commands[kill.command], _uninterrupted[kill.command]
    with tempfile.TemporaryDirectory(prefix="tidal-kills-") as name:
        folder = Path(name)
        new = [*command, "--output", OUTPUT]
        after = None if kill.share is None else kill.share * whole.seconds
        code, *_ = run(new, folder, event=kill.event, after=after)
        while after is not None and code != -signal.SIGKILL:  # it was faster than the run that was not killed
            shutil.rmtree(folder / OUTPUT)
            after /= 2
            code, *_ = run(new, folder, after=after)
        row: dict[str, Any] = {**vars(kill), "was_killed": code == -signal.SIGKILL, "faults": []}
        for path in damaged(folder / OUTPUT):
            row["faults"].append(f"damaged: {path.relative_to(folder)}")
        code, said, *_ = run([*new, "--resume"], folder)
        if code == 2 and not (folder / OUTPUT / "run.json").exists():  # there was no run yet
            row["began_anew"] = True
            code, said, *_ = run(new, folder)
        if code != 0:
            row["faults"].append(f"failed: {code}: {said[-800:]}")
        else:
            result = compared(folder / OUTPUT)
            differing = sorted(
                key for key in result.keys() | whole.result.keys() if result.get(key) != whole.result.get(key)
            )
            left = [key for key in differing if key not in whole.result]
            row["faults"] += [f"left over: {', '.join(left)}"] if left else []
            row["faults"] += (
                [f"unequal: {', '.join(found)}"] if (found := [key for key in differing if key not in left]) else []
            )
        if row["faults"] and (keep := os.environ.get("KEEP_FAULTS")):
            shutil.copytree(
                folder, Path(keep) / f"{kill.command}-{kill.event}-{kill.share}".replace(" ", "-"), dirs_exist_ok=True
            )
        return row


def damaged(folder: Path) -> list[Path]:
    """Files outside of checkpoints that cannot be read, apart from partial ones."""
    from safetensors import safe_open

    found = []
    for path in folder.rglob("*") if folder.exists() else ():
        if "checkpoints" in path.parts or ".partial" in str(path) or not path.is_file():
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".jsonl":
                [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            elif path.suffix == ".safetensors":
                with safe_open(path, "np"):
                    pass
        except Exception:
            found.append(path)
    return found


def kills_of(name: str, run: UninterruptedRun, number: int, seed: int) -> list[Kill]:
    """Kills of a command: half at different write events, half at random times."""
    generator = random.Random(f"{seed} {name}")
    events = generator.sample(range(1, run.events + 1), min(number // 2, run.events))
    moments = [generator.uniform(0.02, 0.98) for _ in range(number - len(events))]
    return [Kill(name, event=event) for event in events] + [Kill(name, share=share) for share in moments]


_commands: dict[str, list[str]] = {}
_uninterrupted: dict[str, UninterruptedRun] = {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=301)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="Commands.")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, help="JSON file.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidal-kills-") as folder:
        os.environ["HF_HOME"] = os.path.join(folder, "hub")
        _commands.update(commands(make_materials(Path(folder, "materials"))))
        chosen = options.only or list(_commands)
        for name in chosen:
            _uninterrupted[name] = uninterrupted(_commands[name])
        each = -(-options.kills // len(chosen))
        kills = [kill for name in chosen for kill in kills_of(name, _uninterrupted[name], each, options.seed)]
        with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("fork")) as pool:
            rows = list(pool.map(kill_and_resume, kills))
    table = [_figures(name, [row for row in rows if row["command"] == name]) for name in chosen]
    table.append(_figures("all", rows))
    print("  ".join(f"{key:>14}" for key in table[0]))
    for line in table:
        print("  ".join(f"{value:>14}" for value in line.values()))
    for row in rows:
        for fault in row["faults"]:
            print(f"{row['command']}, event {row['event']}, share {row['share']}: {fault}")
    if options.output:
        command = shlex.join(["python", *sys.argv])
        content = {"command": command, "seed": options.seed, "figures": table}
        content["faults"] = [row for row in rows if row["faults"]]
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return int(any(row["faults"] for row in rows))


def _figures(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    figures = {
        "command": name,
        "kills": len(rows),
        "at events": sum(row["event"] is not None for row in rows),
        "at moments": sum(row["share"] is not None for row in rows),
        "killed": sum(row["was_killed"] for row in rows),
    }
    return figures | {
        kind: sum(any(fault.startswith(kind) for fault in row["faults"]) for row in rows) for kind in FAULTS
    }


if __name__ == "__main__":
    sys.exit(main())
