"""Wrappers of the environments."""
