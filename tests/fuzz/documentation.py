"""What annotations and docstrings say of the parameters of a callable or the fields of a dataclass."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Callable
from itertools import pairwise
from typing import Any


def documented(target: Callable[..., Any]) -> dict[str, tuple[Any, str]]:
    """Annotation and documentation by name of a parameter or field; those without an annotation are left out."""
    if dataclasses.is_dataclass(target):
        texts = _field_docstrings(target)
        hints = typing.get_type_hints(target)
        return {field.name: (hints[field.name], texts.get(field.name, "")) for field in dataclasses.fields(target)}
    made = target.__init__ if inspect.isclass(target) else inspect.unwrap(target)  # type: ignore[misc]
    texts = _arguments(inspect.getdoc(target) or "") | _arguments(inspect.getdoc(made) or "")
    known = vars(__import__("typing")) | vars(__import__("collections.abc", fromlist=["abc"])) | made.__globals__
    found = {}
    for name, parameter in inspect.signature(made).parameters.items():
        if name == "self" or parameter.annotation is inspect.Parameter.empty:
            continue
        annotation = parameter.annotation
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, dict(known))
            except Exception:  # imported for the type checker alone
                continue
        found[name] = (annotation, texts.get(name, ""))
    return found


def _arguments(docstring: str) -> dict[str, str]:
    """The section ``Args:``, by name."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    parts = re.split(r"^    (?=\w[\w, ]*:)", section[1], flags=re.MULTILINE)
    texts = {}
    for part in parts:
        names, _, text = part.partition(":")
        texts |= {name.strip(): " ".join(text.split()) for name in names.split(",")}
    return texts


def _field_docstrings(target: Any) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(target))).body[0].body  # type: ignore[attr-defined]
    texts = {}
    for statement, following in pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            texts[statement.target.id] = " ".join(str(following.value.value).split())  # type: ignore[union-attr, attr-defined]
    return texts
