"""Evaluation of agents: returns with confidence intervals, comparisons, text quality."""
