"""Environments on random grammars, for which the optimal model is known."""
