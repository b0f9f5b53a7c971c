"""Policies, and the controller folder with a trained policy."""
