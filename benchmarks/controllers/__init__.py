"""Controllers beside baselines and the oracle."""
