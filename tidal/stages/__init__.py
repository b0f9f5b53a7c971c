"""Staged computations: worker processes and the results of finished stages."""
