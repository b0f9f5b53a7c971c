"""Training of controllers: configuration, training run, checkpoints and algorithms."""
