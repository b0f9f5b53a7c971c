"""Runs test cases in parallel and counts their outcomes."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.attempt import KINDS

_cases: Sequence[Any] = ()
_try: Callable[[Any], tuple[str, str]]


@dataclass
class OutcomeCounts:
    """Numbers of outcomes, and the faults."""

    name: str
    """Name of the part."""
    counts: Counter[str] = field(default_factory=Counter)
    """Number of cases by ``attempt.KINDS``."""
    faults: list[dict[str, str]] = field(default_factory=list)
    """``case``, ``kind`` and ``seen`` of each fault."""

    def row(self) -> dict[str, Any]:
        """The counts as plain data."""
        return {"part": self.name, "tried": sum(self.counts.values()), **{kind: self.counts[kind] for kind in KINDS}}


def count_outcomes(
    name: str, cases: Sequence[Any], attempt: Callable[[Any], tuple[str, str]], workers: int
) -> OutcomeCounts:
    """Runs every case.

    Args:
        name: name of the part.
        cases: test cases, with the attribute ``why``.
        attempt: returns one of ``attempt.KINDS`` and the observed output.
        workers: number of processes, forked from this one with its libraries loaded.
    """
    global _cases, _try
    _cases, _try = cases, attempt
    outcomes = OutcomeCounts(name)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        for case, (kind, seen) in zip(cases, pool.map(_one, range(len(cases))), strict=True):
            outcomes.counts[kind] += 1
            if kind not in ("clear", "right"):
                outcomes.faults.append({"case": case.why, "kind": kind, "seen": seen})
    return outcomes


def _one(number: int) -> tuple[str, str]:
    os.environ["COLUMNS"] = "200"
    return _try(_cases[number])
