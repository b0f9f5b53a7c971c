"""Rewards and costs of a drawn token."""
