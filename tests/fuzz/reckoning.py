"""Many attempts side by side, and what became of them."""

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
class Reckoning:
    """How many attempts ended how, and those that should not have ended so."""

    name: str
    """Of the part."""
    counts: Counter[str] = field(default_factory=Counter)
    """By ``attempt.KINDS``."""
    faults: list[dict[str, str]] = field(default_factory=list)
    """``case``, ``kind`` and ``seen`` of each fault."""

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return {"part": self.name, "tried": sum(self.counts.values()), **{kind: self.counts[kind] for kind in KINDS}}


def reckon(name: str, cases: Sequence[Any], attempt: Callable[[Any], tuple[str, str]], workers: int) -> Reckoning:
    """Try every case.

    Args:
        name: of the part.
        cases: what to try; each has a ``why``.
        attempt: gives one of ``attempt.KINDS`` and what was seen.
        workers: processes, forked from this one, so that they have its libraries loaded.
    """
    global _cases, _try
    _cases, _try = cases, attempt
    reckoning = Reckoning(name)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        for case, (kind, seen) in zip(cases, pool.map(_one, range(len(cases))), strict=True):
            reckoning.counts[kind] += 1
            if kind not in ("clear", "right"):
                reckoning.faults.append({"case": case.why, "kind": kind, "seen": seen})
    return reckoning


def _one(number: int) -> tuple[str, str]:
    os.environ["COLUMNS"] = "200"
    return _try(_cases[number])
