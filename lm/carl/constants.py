"""The constants of CARL as published (github.com/wheattoast11/carl, carl.py).

They are conventions of that work, not measured here: nothing in this project depends on their being laws.
"""

from __future__ import annotations

from lm.checks import COUNT, require_integer

KAPPA = 64 / 3
"""κ, "conservation constant": tokens per embedding dimension."""

SIGMA = 3 / 16
"""σ, "semantic quantum": mean Φ below which the coherence gate abstains."""

KAPPA_SIGMA = 4.0
"""κσ [bits per embedding dimension]."""

DEFECT_THRESHOLD = 0.03
"""|ΔΦ| above which two neighbouring tokens are a discontinuity."""


def t_star(dimension: int) -> int:
    """T* = κ d, rounded down: "decompression boundary" [tokens] of an embedding dimension d; T*(768) = 16,384.

    Raises:
        InvalidValueError: d below 1.
    """
    return 64 * require_integer("dimension", dimension, COUNT) // 3
