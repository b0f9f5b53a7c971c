"""Speed of environment steps, PPO and pretraining."""
