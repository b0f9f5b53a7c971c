"""The commands, a module each: `make_parser()` says what it takes, `run(arguments)` does it and gives the exit code."""
