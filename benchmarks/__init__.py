"""Benchmarks: comparisons with other libraries and with lower bounds; `results` holds their figures."""
