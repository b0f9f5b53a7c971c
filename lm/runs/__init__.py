"""Runs on disk: folders, records, events, locks, and files that are written whole or not at all."""
