"""The three gates of a gated transformer: their names, and the values that ask for nothing."""

GATE_NAMES = ("creativity", "focus", "stability")

NEUTRAL_GATES = (0.5, 0.0, 0.0)
"""Gates that ask for nothing: a model computes exactly what it computes without gates, and an environment whose action
they are draws plainly from the model."""
