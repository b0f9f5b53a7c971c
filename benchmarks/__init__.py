"""Measurements, side by side with other libraries and lower bounds; the figures are in `results`."""
