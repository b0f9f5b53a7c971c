"""The benchmark of learned controllers against tuned baselines and the oracle."""
