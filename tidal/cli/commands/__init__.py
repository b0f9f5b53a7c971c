"""The commands, one module each: `make_parser()` defines the options, `run(arguments)` returns the exit code."""
