"""`tidal runs`: list run folders, show one, end one that is running, remove what is not needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser
from rich.table import Table

from lm.errors import CheckpointError
from lm.paths import user_path
from lm.runs import heartbeat, run_lock
from lm.runs.events import EVENTS_FILE, read_events
from lm.runs.record import RUN_FILE, RunRecord, read_record
from lm.runs.stop import ask_to_stop
from tidal.cli.console import errors, output, print_figures
from tidal.cli.parsing import new_parser


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("runs", "List run folders, show one, end one, or remove those that failed or were "
        "cancelled.")  # fmt: skip
    actions = parser.add_subcommands(dest="action", required=True)
    for name, purpose in (
        ("list", "List the runs below a folder."),
        ("show", "Show the record and the newest progress of a run."),
        ("stop", "Ask a running run to end: to cancel with a checkpoint, or to finish with what it has."),
        ("clean", "Remove runs below a folder that failed or were cancelled."),
    ):
        action = new_parser(f"runs {name}", purpose)
        if name in ("show", "stop"):
            action.add_argument("folder", type=str, help="Folder of the run.")
        else:
            action.add_argument("folder", type=str, nargs="?", default="runs", help="Folder that is searched.")
        if name == "stop":
            action.add_argument("--finish", action="store_true",
                help="End as completed: stop working, save and evaluate what there is.")  # fmt: skip
        else:
            action.add_argument("--json", action="store_true", help="Print JSON.")
        if name == "clean":
            action.add_argument("--yes", action="store_true", help="Remove them; without it they are only listed.")
        actions.add_subcommand(name, action, help=purpose)
    return parser


def run(arguments: Sequence[str]) -> int:
    """List, show, stop or remove runs."""
    options = make_parser().parse_args(list(arguments))
    chosen = options[options.action]
    folder = user_path(chosen.folder)
    if options.action == "show":
        return _show(folder, is_json=chosen.json)
    if options.action == "stop":
        return _stop(folder, "finish" if chosen.finish else "cancel")
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}. Name the folder that holds the runs.")
    runs = list(_runs_below(folder))
    if options.action == "clean":
        runs = [(path, record) for path, record in runs if state_of(path, record) in ("failed", "cancelled", "died")]
        for path, _ in runs if chosen.yes else ():
            shutil.rmtree(path)
    if chosen.json:
        print(json.dumps([_summary(path, record) for path, record in runs]))
        return 0
    table = Table("run", "kind", "state", "created", "finished", box=None)
    for path, record in runs:
        table.add_row(str(path), record.kind, state_of(path, record), record.created, record.finished or "")
    output.print(table)
    if options.action == "clean":
        done = "Removed" if chosen.yes else "Would remove"
        errors.print(f"{done} {len(runs)} runs.{'' if chosen.yes else ' Repeat with `--yes` to remove them.'}")
    return 0


def state_of(folder: Path, record: RunRecord) -> str:
    """State of a run from its record; "died" if the record is "running" and the folder is not locked."""
    if record.state != "running" or run_lock.is_held(folder):
        return record.state
    return "running" if heartbeat.is_alive(folder) else "died"


def _runs_below(folder: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Run folders at or below a folder, without those inside another run."""
    record = read_record(folder)
    if record is not None:
        yield folder, record
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            yield from _runs_below(entry)


def _show(folder: Path, *, is_json: bool) -> int:
    record = _record_in(folder)
    events = list(read_events(folder / EVENTS_FILE, name="progress"))
    progress = events[-1] if events else None
    if is_json:
        print(json.dumps(asdict(record) | {"state": state_of(folder, record), "progress": progress}))
        return 0
    figures = {
        "Kind": record.kind,
        "State": state_of(folder, record) + (f": {record.exit_reason}" if record.exit_reason else ""),
        "Created": record.created,
        "Finished": record.finished or "–",
        "Command": record.command,
        "Versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "Commit": record.git_revision or "–",
    }
    if progress is not None:
        total = "" if progress["total"] is None else f" of {progress['total']:,}"
        figures["Progress"] = f"{progress['stage']}: {progress['done']:,}{total} {progress['unit']}"
        figures |= {f"  {name}": f"{value:.4g}" for name, value in progress["metrics"].items()}
    print_figures(str(folder), figures)
    output.print_json(json.dumps(dict(record.config)), indent=2, highlight=False)
    return 0


def _stop(folder: Path, way: Literal["finish", "cancel"]) -> int:
    state = state_of(folder, _record_in(folder))
    if state != "running":
        raise CheckpointError(f"The run in {folder} is not running: it is {state}.")
    ask_to_stop(folder, way)
    errors.print(f"The run is asked to {way}. `tidal runs show {folder}` says when it has ended.", soft_wrap=True)
    return 0


def _record_in(folder: Path) -> RunRecord:
    record = read_record(folder)
    if record is None:
        raise CheckpointError(f"{folder} holds no run: there is no {RUN_FILE} of this format.")
    return record


def _summary(folder: Path, record: RunRecord) -> dict[str, object]:
    return {"folder": str(folder), "kind": record.kind, "state": state_of(folder, record), "created": record.created,
            "finished": record.finished, "exit_reason": record.exit_reason}  # fmt: skip
