"""What a result was made with: machine, versions, date."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("tidal-gym", "torch", "transformers", "gymnasium", "stable-baselines3", "numpy")


@dataclass(frozen=True)
class Provenance:
    """Where and when, with what."""

    date: str
    """When it was made (UTC)."""
    machine: str
    """Processor and number of cores."""
    system: str
    """Operating system."""
    versions: dict[str, str]
    """Of Python and the libraries."""


def provenance() -> Provenance:
    """Of this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Provenance(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{_processor()}, {cores} cores",
        system=platform.platform(terse=True),
        versions={"python": platform.python_version()} | {name: version_of(name) for name in LIBRARIES},
    )


def version_of(library: str) -> str:
    """Its version, or "not installed" (as this project is when it runs from a bare checkout)."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
