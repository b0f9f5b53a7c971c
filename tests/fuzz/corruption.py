"""Ways to damage a file's bytes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

BAD_LEAVES = (
    None,
    "text",
    float("nan"),
    float("inf"),
    -1,
    1e308,
    10**30,
    [],
    {},
    True,
    "\x1b[31m",
    "x" * 5000,
    [[[]]],
    -0.5,
)


def corruptions(
    content: bytes, others: dict[str, bytes], is_json: bool, generator: random.Random
) -> Iterator[tuple[str, bytes]]:
    """Without end: what was done, and the damaged bytes, which differ from `content`.

    Args:
        content: of the file.
        others: other kinds of files by name, which may stand in its place.
        is_json: whether single values in it may be replaced as well.
        generator: of the choices.
    """
    ways = [_flip, _flips, _cut, _swap, _zeros, _inserted, _repeated, _noise, _empty]
    while True:
        if is_json and generator.random() < 0.5:
            name, damaged = _leaf(content, generator)
        elif others and generator.random() < 0.1:
            name = generator.choice(sorted(others))
            name, damaged = f"{name} in its place", others[name]
        else:
            way = generator.choice(ways)
            name, damaged = way(content, generator)
        if damaged != content:
            yield name, damaged


def _flip(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    place, bit = generator.randrange(len(content)), generator.randrange(8)
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    return f"bit {bit} of byte {place} flipped", bytes(damaged)


def _flips(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    damaged = bytearray(content)
    for _ in range(20):
        damaged[generator.randrange(len(content))] = generator.randrange(256)
    return "20 bytes changed", bytes(damaged)


def _cut(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    place = generator.randrange(len(content))
    return f"cut at byte {place} of {len(content)}", content[:place]


def _swap(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    middle = generator.randrange(1, max(2, len(content)))
    return f"swapped at byte {middle}", content[middle:] + content[:middle]


def _zeros(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    start = generator.randrange(len(content))
    end = min(len(content), start + 64)
    return f"zeros from byte {start} to {end}", content[:start] + bytes(end - start) + content[end:]


def _inserted(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    place = generator.randrange(len(content))
    return f"a byte more at {place}", content[:place] + bytes([generator.randrange(256)]) + content[place:]


def _repeated(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    return "written twice", content + content


def _noise(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    return "random bytes", generator.randbytes(max(1, len(content)))


def _empty(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    return "emptied", b""


def _leaf(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    """JSON or JSON lines with one value of another type or out of all ranges, one key gone, or one too many."""
    lines = content.decode().splitlines()
    try:
        roots, is_lines = [json.loads(content)], False
    except ValueError:
        roots, is_lines = [json.loads(line) for line in lines if line], True
    whole = copy.deepcopy(roots)
    spots = list(_spots(whole))
    container, key, path = generator.choice(spots)
    choice = generator.random()
    if choice < 0.15 and isinstance(container, dict):
        del container[key]
        what = f"{path} gone"
    elif choice < 0.25 and isinstance(container, dict):
        container["no_such_key"] = 1
        what = f"a key too many beside {path}"
    elif choice < 0.3:
        deep: Any = 1
        for _ in range(500):
            deep = [deep]
        container[key] = deep
        what = f"{path} nested deeply"
    else:
        value = generator.choice([one for one in BAD_LEAVES if type(one) is not type(container[key]) or one != one])
        container[key] = value
        what = f"{path} = {str(value)[:30]!r}"
    text = "\n".join(json.dumps(root) for root in whole) if is_lines else json.dumps(whole[0], indent=2)
    return what, text.encode() + b"\n"


def _spots(value: Any, path: str = "") -> Iterator[tuple[Any, Any, str]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in list(pairs):
        yield value, key, f"{path}/{key}"
        yield from _spots(member, f"{path}/{key}")
