"""Training with CARL rewards: supervised fine-tuning with early stopping, and policy optimisation."""
