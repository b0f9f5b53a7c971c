"""Reads YAML files of options: plain data only, so that an untrusted file can neither run code nor exhaust memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from lm.errors import CheckpointError, InvalidValueError
from lm.passed_files import MAX_DEPTH, read_text, require_depth, without_repeated_keys

MAX_BYTES = 256 * 2**10
"""Maximum size of a file of options [bytes]."""


class _PlainLoader(yaml.SafeLoader):
    """YAML loader without aliases, repeated keys and tags other than those of plain data."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem=f"it holds the alias *{event.anchor}", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            keys = [(self.construct_object(key, deep=True), None) for key, _ in node.value]
            without_repeated_keys(keys)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-3 as text.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads options from a YAML file.

    Raises:
        InvalidValueError: the file cannot be read, is not YAML, or holds no mapping; gives the reason and the line.
    """
    try:
        content = yaml.load(read_text(path, max_bytes=MAX_BYTES), Loader=_PlainLoader)
        require_depth(content)
    except RecursionError as error:
        raise _refused(path, f"it is nested deeper than {MAX_DEPTH} levels") from error
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise _refused(path, f"{error.problem}{line}") from error
    except (yaml.YAMLError, CheckpointError, ValueError, TypeError) as error:
        raise _refused(path, str(error).rstrip(".")) from error
    if not isinstance(content, dict):
        raise _refused(path, f"it holds no mapping of options but {type(content).__name__}")
    return content


def require_no_aliases(option: str, value: str) -> None:
    """Raises InvalidValueError for an option's value that repeats parts by aliases, as YAML can: a line may grow to
    gigabytes.
    """
    if "&" not in value or "*" not in value:
        return
    anchors: set[str | None] = set()
    try:
        for event in yaml.parse(value, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) and event.anchor in anchors:
                raise InvalidValueError(option, "must hold YAML without aliases", f"the alias *{event.anchor}")
            anchors.add(getattr(event, "anchor", None))
    except yaml.YAMLError:
        return  # not YAML: used unchanged


def _refused(path: str | Path, reason: str) -> InvalidValueError:
    rule = "must be a YAML file of options, without aliases, tags and repeated keys"
    return InvalidValueError("config", rule, f"{path}: {' '.join(reason.split())}")
