"""Whether a file can be written, found out before the work whose results it is to hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lm.errors import InvalidValueError, OutputExistsError
from lm.paths import user_path
from lm.runs.whole_file import PARTIAL


def require_writable(path: str | Path, *, overwrite: bool, parameter: str = "output") -> Path:
    """Check that a file can be written, and make its folder.

    Returns:
        The path, with ``~`` expanded.

    Raises:
        OutputExistsError: there is such a file and `overwrite` is False, or `path` is a folder.
        InvalidValueError: its folder cannot be made or written to, or `path` is a device.
    """
    path = user_path(path)
    try:
        if path.is_dir():
            raise OutputExistsError(f"{path} is a folder. Name a file in it by `{parameter}`.")
        if path.exists() and not path.is_file():
            raise InvalidValueError(parameter, "must name a file", f"{path}, which is none")
        if path.exists() and not overwrite:
            raise OutputExistsError(f"{path} already exists. Choose another file, or replace it with `--overwrite`.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL) as probe:
            probe.write(bytes(4096))
            probe.flush()
    except OSError as error:
        rule = "must name a file that can be written"
        raise InvalidValueError(parameter, rule, f"{path} ({error.strerror})") from error
    return path
