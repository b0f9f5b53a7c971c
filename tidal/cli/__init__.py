"""The command line: commands, parsing, progress bars and tables."""
