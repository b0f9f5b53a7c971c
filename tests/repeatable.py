"""Guards that make a test's outcome depend on the code alone: seeded draws, no network, a chosen order."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils import seeding

CHECKED = ("lm", "tidal_gym", "agents", "tidal", "tests", "__main__", "gymnasium.core", "gymnasium.vector.vector_env")
"""Where an unseeded generator is an error. Others' make some that nothing here draws from; they get the seed 0."""
ADVICE = "Give a seed, or mark the test with `@pytest.mark.unseeded` if its outcome holds for every draw."


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, default=None, help="Run the tests in a random order, drawn from this seed.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "unseeded: the test draws without a seed, and holds for every draw.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("--shuffle")
    if seed is not None:  # by the names' order, which every worker shares
        items.sort(key=lambda item: item.nodeid)
        random.Random(seed).shuffle(items)


@pytest.fixture(autouse=True)
def repeatable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the libraries' global generators, and refuses unseeded ones and connections."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - other libraries draw from it
    torch.manual_seed(0)
    monkeypatch.setattr(socket.socket, "connect", _connect_locally)
    if request.node.get_closest_marker("unseeded") is None:
        monkeypatch.setattr(seeding, "np_random", _seeded(seeding.np_random))
        monkeypatch.setattr(np.random, "default_rng", _seeded(np.random.default_rng))


def _seeded(make: Callable[..., Any]) -> Callable[..., Any]:
    def refuse_none(seed: Any = None) -> Any:
        if seed is None:
            caller = sys._getframe(1).f_globals["__name__"]
            if caller in CHECKED or caller.partition(".")[0] in CHECKED:
                raise AssertionError(f"{caller} makes a generator without a seed. {ADVICE}")
            seed = 0
        return make(seed)

    return refuse_none


_connect = socket.socket.connect


def _connect_locally(self: socket.socket, address: Any) -> None:
    if self.family != socket.AF_UNIX:
        raise AssertionError(f"A test connects to {address}. Tests run without a network.")
    _connect(self, address)


@pytest.fixture
def toy_module() -> Iterator[str]:
    """Name of a module that registers environments when it is imported; afterwards they are gone."""
    name, before = "tests.agents.registered_toy", dict(gymnasium.registry)
    yield name
    sys.modules.pop(name, None)
    gymnasium.registry.clear()
    gymnasium.registry.update(before)
