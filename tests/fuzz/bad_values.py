"""Values that break a parameter's rule, from what its annotation and its documentation say of it.

A value is bad by construction: of a type that the annotation rules out, or outside the range that the documentation
states ("at least 1", "in [0, 1]", "above 0", "in (0, 1]", "at most 1"), or a name of something that does not exist.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st

NAMES = re.compile(
    r"^(id|model|statistics|prompts|heldout_prompts|reward|judge|cost|dtype|device|controller|agent|decoder|decoders|"
    r"file|human|data|source|train|hidden_act|alignment|composite|logits|token_ids|mask|task_reward|tokenizer)$"
)
"""Parameters of type str whose value must be the name of something that exists."""
MISSING = ("", "no-such-name", "nowhere/at/all", "no such\x1b[31m name", "..", "x" * 300, "nowhere:thing", "\x00")
BAD_TYPES: dict[type, tuple[Any, ...]] = {
    int: ("three", 1.5, float("nan"), float("inf"), [1], {"a": 1}, True, None),
    float: ("much", float("nan"), [0.5], {"a": 1}, True, None),
    bool: ("perhaps", 2, 0.5, [True], None),
    str: ([1], {"a": 1}, None),
    dict: ("text", 3, [1], {"no_such_key": 1}),
    tuple: ("text", {"a": 1}, None),
    list: (3, {"a": 1}),
}


def bad_values(annotation: Any, documentation: str, name: str) -> st.SearchStrategy[Any] | None:
    """A strategy for bad values of a parameter; None where all values are right."""
    kinds, constants = _members(annotation)
    bad: list[st.SearchStrategy[Any]] = []
    wrong_types = [value for kind in kinds for value in BAD_TYPES.get(typing.get_origin(kind) or kind, ())]
    wrong_types = [value for value in wrong_types if not any(_fits(value, kind) for kind in kinds)]
    if constants:
        wrong_types += ["no-such-choice", "", 7]
    if wrong_types and Any not in kinds:
        bad.append(st.sampled_from(wrong_types))
    if (number := int if int in kinds else float if float in kinds else None) is not None:
        bad += _out_of_range(number, documentation)
    if str in kinds and NAMES.match(name.rpartition(".")[2]):
        bad.append(st.sampled_from(MISSING))
    for kind in kinds:
        if typing.get_origin(kind) in (tuple, list):
            bad.append(_bad_sequences(kind))
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            bad.append(st.sampled_from([{"no_such_key": 1}, 3, [1], "nowhere/at/all"]))
    return st.one_of(bad) if bad else None


def drawn(strategy: st.SearchStrategy[Any], count: int, number: int) -> list[Any]:
    """So many different values of a strategy, always the same for one `number`."""
    values: dict[str, Any] = {}

    @seed(number)
    @settings(
        max_examples=4 * count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        values.setdefault(repr(value), value)

    collect()
    # Hypothesis begins with the simplest ones; the last are as good.
    found = list(values.values())
    return found[:: max(1, len(found) // count)][:count]


def _members(annotation: Any) -> tuple[list[Any], list[Any]]:
    """The types of a union, without None's, and the choices of a Literal."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [_members(part) for part in typing.get_args(annotation)]
        return [kind for kinds, _ in parts for kind in kinds], [one for _, constants in parts for one in constants]
    if typing.get_origin(annotation) is typing.Literal:
        return [], list(typing.get_args(annotation))
    return [annotation], []


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is a right one of a type; text that is written like a number counts as one."""
    origin = typing.get_origin(kind) or kind
    if origin is type(None):
        return value is None
    if origin is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return origin is Any or (isinstance(origin, type) and isinstance(value, origin))


def _out_of_range(kind: type, documentation: str) -> list[st.SearchStrategy[Any]]:
    text = documentation.replace("−", "-")
    bad: list[st.SearchStrategy[Any]] = []
    number = r"(-?\d[\d,_]*\.?\d*)"

    def below(bound: float) -> st.SearchStrategy[Any]:
        return st.integers(-(10**6), int(bound) - 1) if kind is int else st.floats(-1e6, bound - 1e-6)

    def above(bound: float) -> st.SearchStrategy[Any]:
        return st.integers(int(bound) + 1, 10**12) if kind is int else st.floats(bound + 1e-6, 1e300)

    if found := re.search(rf"at least {number}", text):
        bad.append(below(_number(found[1])))
    if found := re.search(rf"\babove {number}", text):
        bad += [below(_number(found[1])), st.just(kind(_number(found[1])))]
    if found := re.search(rf"at most {number}(?! tokens)", text):
        bad.append(above(_number(found[1])))
    if found := re.search(rf"in ([\[(]){number}, {number}([\])])", text):
        low, high = _number(found[2]), _number(found[3])
        bad += [below(low), above(high)]
        bad += [st.just(kind(edge)) for edge, bracket in ((low, found[1]), (high, found[4])) if bracket in "()"]
    if bad and kind is float:
        bad.append(st.sampled_from([float("nan"), float("inf"), float("-inf")]))
    return bad


def _number(text: str) -> float:
    return float(text.rstrip(".").replace(",", "").replace("_", ""))


def _bad_sequences(kind: Any) -> st.SearchStrategy[Any]:
    members = [member for member in typing.get_args(kind) if member is not Ellipsis]
    bad: list[Any] = [[{"a": 1}], [[1]]] if members and members[0] is not Any else []
    if members and members[0] in (int, float):
        bad += [["three"], [float("nan")], [float("inf")], [None]]
    if members and members[0] is int:
        bad += [[1.5]]
    if typing.get_origin(kind) is tuple and Ellipsis not in typing.get_args(kind):
        right = {int: 1, float: 0.5, str: "a"}.get(members[0], 1)
        bad += [[], [right] * (len(members) + 1), [right] * (len(members) - 1)]
    return st.sampled_from(bad or [3])
