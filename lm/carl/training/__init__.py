"""Training with CARL rewards: supervised fine-tuning until a model has crystallised, and policy optimisation."""
