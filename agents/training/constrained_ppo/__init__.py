"""PPO-Lagrangian: PPO under a cost constraint, with Lagrange multiplier and cost critic."""
