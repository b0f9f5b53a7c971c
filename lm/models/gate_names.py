"""Names and neutral values of the three gates of a gated transformer."""

GATE_NAMES = ("creativity", "focus", "stability")

NEUTRAL_GATES = (0.5, 0.0, 0.0)
"""Neutral gates: a model computes exactly the same as without gates, and the environment uses plain sampling."""
