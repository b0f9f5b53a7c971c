"""Agents and episodes: agent protocol, environment configuration, episode records, SB3 adapter."""
