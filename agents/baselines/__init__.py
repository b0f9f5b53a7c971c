"""Baselines: fixed gates, decoding methods, the oracle, the planner, and their tuning."""
