"""Training of controllers: configuration, the run, checkpoints, algorithms."""
