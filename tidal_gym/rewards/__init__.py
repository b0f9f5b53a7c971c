"""Rewards, costs and judges."""
