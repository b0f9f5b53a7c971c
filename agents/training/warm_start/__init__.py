"""The warm start: regression on exact expected rewards before PPO."""
