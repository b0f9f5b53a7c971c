"""PPO under a constraint: the Lagrange multiplier and the cost critic."""
