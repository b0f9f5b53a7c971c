"""Agents and the episodes that they run: protocol, environment config, SB3 adapter."""
