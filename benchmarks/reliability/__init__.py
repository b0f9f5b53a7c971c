"""Killed and repeated runs."""
