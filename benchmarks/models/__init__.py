"""Language models: architectures and effects of the gates."""
