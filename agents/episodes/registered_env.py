"""Makes vector environments of any Gymnasium id."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv

import tidal_gym  # noqa: F401 - registers the environments
from lm.errors import InvalidValueError


def make_registered(name: str, num_envs: int, autoreset_mode: str, arguments: Mapping[str, Any]) -> VectorEnv:
    """Makes a vector env through ``gymnasium.make_vec``.

    Args:
        name: registered id, with ``module:`` before it if a module must be imported first.
        num_envs: number of rows N.
        autoreset_mode: Gymnasium autoreset mode.
        arguments: arguments of the environment.

    Raises:
        InvalidValueError: the id is not registered, or the environment does not take one of the arguments.
    """
    spec = _spec_of(name)
    # Some vector environments have a fixed autoreset mode; with scalar environments side by side any mode works.
    is_batched = spec.vector_entry_point is not None and _takes(spec.vector_entry_point, "autoreset_mode")
    entry_point = spec.vector_entry_point if is_batched else spec.entry_point
    for argument, value in arguments.items():
        if argument != "max_episode_steps" and not _takes(entry_point, argument):  # `make` takes the limit itself
            rule = f"must be left out: the environment {name} does not take it"
            raise InvalidValueError(f"env.{argument}", rule, repr(value))
    if is_batched:
        return gymnasium.make_vec(name, num_envs, autoreset_mode=autoreset_mode, **arguments)
    rows = {"autoreset_mode": AutoresetMode(autoreset_mode)}
    return gymnasium.make_vec(name, num_envs, vectorization_mode="sync", vector_kwargs=rows, **arguments)


def _takes(entry_point: Any, argument: str) -> bool:
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    parameters = inspect.signature(creator).parameters
    return argument in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _spec_of(name: str) -> EnvSpec:
    module, _, plain = name.rpartition(":")
    try:
        if module:
            import_module(module)
        return gymnasium.spec(plain)
    except (gymnasium.error.Error, ImportError, ValueError) as error:
        rule = "must be the id of a registered environment"
        hint = f"For an environment of your own, put the module that registers it first: `module:{plain or 'Name-v0'}`."
        raise InvalidValueError("env.id", rule, name, hint) from error
