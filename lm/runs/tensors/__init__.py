"""Tensors on disk: checked files, their checksums, and the state of optimizers and random generators."""
