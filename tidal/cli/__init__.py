"""The command line: one module a command, parsing, progress and tables."""
