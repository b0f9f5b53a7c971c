"""The entry of the `tidal` command: an interruption at any moment becomes a line and an exit code.

Only what Python itself has loaded already is imported before the signals are handled.
"""

import os
import signal
import sys
from types import FrameType

EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_BROKEN_PIPE = 130, 143, 141


def main() -> int:
    """Run the command line and return its exit code."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    from tidal.cli.main import main

    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        code = _say_so(_signal_of(stop))
    except BrokenPipeError:  # the program that reads the output has ended: `tidal --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_BROKEN_PIPE
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left but to end
    return EXIT_TERMINATED if code == EXIT_INTERRUPTED and _received == signal.SIGTERM else code


_received: int | None = None


def _stop(number: int, frame: FrameType | None) -> None:
    """End at once while a module is imported, where nothing has begun; else unwind, so that what is open is closed."""
    global _received
    _received = number
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os._exit(_say_so(number))
        frame = frame.f_back
    raise KeyboardInterrupt(number)


def _signal_of(stop: KeyboardInterrupt) -> int:
    return stop.args[0] if stop.args else signal.SIGINT


def _say_so(number: int) -> int:
    is_terminated = number == signal.SIGTERM
    os.write(2, b"Terminated.\n" if is_terminated else b"Interrupted.\n")
    return EXIT_TERMINATED if is_terminated else EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
