"""The record of a run, ``run.json``: what was run, with what, and how it ended."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lm.errors import CheckpointError
from lm.passed_files import read_object, record_from
from lm.runs.provenance import provenance
from lm.runs.whole_file import write_json

RUN_FILE = "run.json"
FORMAT_VERSION = 1

RunState = Literal["running", "completed", "failed", "cancelled"]


@dataclass(frozen=True)
class RunRecord:
    """Record of a run."""

    kind: str
    """Kind of job: "pretrain", "train", "rlm-train"."""
    config: Mapping[str, Any]
    """Configuration, as plain data."""
    command: str
    """Command line of the process that runs it."""
    versions: Mapping[str, str]
    """Versions of Python and the libraries."""
    created: str
    """When the run was begun (UTC, ISO 8601)."""
    state: RunState = "running"
    """State that the run's process wrote last. A killed process leaves "running"; check its heartbeat."""
    finished: str | None = None
    """When the run ended (UTC, ISO 8601); None while it runs."""
    exit_reason: str | None = None
    """Why the run failed or was cancelled; None otherwise."""
    git_revision: str | None = None
    """Commit of the checkout that the code ran from; None where it was installed otherwise."""
    format_version: int = FORMAT_VERSION
    """Version of this file's format."""

    @classmethod
    def begin(cls, kind: str, config: Any, *, resumed: RunRecord | None = None) -> RunRecord:
        """The record of a run that begins in this process, or goes on.

        Args:
            kind: kind of job.
            config: its configuration, a dataclass.
            resumed: the record of the run that goes on.
        """
        return cls(
            kind=kind,
            config=plain(config),
            command=command_of_process(),
            versions=provenance().versions,
            created=resumed.created if resumed else now(),
            git_revision=_git_revision(),
        )

    def ended(self, state: RunState, exit_reason: str | None = None) -> RunRecord:
        """The record of the same run at its end."""
        return replace(self, state=state, finished=now(), exit_reason=exit_reason)

    def write(self, folder: Path) -> None:
        """Write the record into the run's folder, whole or not at all."""
        write_json(folder / RUN_FILE, asdict(self))


def read_record(folder: Path) -> RunRecord | None:
    """The record of the run in a folder; None where there is none of this format."""
    path = folder / RUN_FILE
    try:
        content = read_object(path)
        return record_from(RunRecord, content, path) if content.get("format_version") == FORMAT_VERSION else None
    except (CheckpointError, OSError):
        return None


def plain(config: Any) -> Any:
    """A configuration, or a value of one, as JSON holds it: mappings for dataclasses, lists for tuples."""
    is_record = dataclasses.is_dataclass(config) and not isinstance(config, type)
    return json.loads(json.dumps(asdict(config) if is_record else config))


def with_defaults(theirs: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """A stored configuration with the defaults of fields that were added since it was stored.

    Args:
        theirs: the stored configuration.
        config: a configuration of the same kind.
    """
    filled = dict(theirs)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in filled:
            if dataclasses.is_dataclass(value) and isinstance(filled[field.name], Mapping):
                filled[field.name] = with_defaults(filled[field.name], value)
        elif field.default_factory is not dataclasses.MISSING:
            filled[field.name] = plain(field.default_factory())
        elif field.default is not dataclasses.MISSING:
            filled[field.name] = plain(field.default)
    return filled


def command_of_process() -> str:
    """The command line of this process, without the folder of the program."""
    program = os.path.basename(sys.argv[0]) or "python"
    return shlex.join(["tidal" if program == "__main__.py" else program, *sys.argv[1:]])


def now() -> str:
    """The time (UTC, ISO 8601)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_revision() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
