"""Provenance of a result: machine, versions and date."""

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
    """Date, machine, operating system and library versions of a computation."""

    date: str
    """Date and time of the computation (UTC)."""
    machine: str
    """Processor model and number of cores."""
    system: str
    """Operating system."""
    versions: dict[str, str]
    """Versions of Python and the libraries by name."""


def provenance() -> Provenance:
    """Provenance of results of this process."""
    return Provenance(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{_processor()}, {cores()} cores",
        system=platform.platform(terse=True),
        versions={"python": platform.python_version()} | {name: version_of(name) for name in LIBRARIES},
    )


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version_of(library: str) -> str:
    """Version of a library, or "not installed"."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
