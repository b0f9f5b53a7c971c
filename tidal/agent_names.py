"""Agents by the names that the command line knows them by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lm.errors import InvalidValueError

if TYPE_CHECKING:
    from agents.agent import Agent
    from agents.env_config import EnvConfig

HELP = (
    "neutral, random, oracle (the one-step oracle, slow), static:CREATIVITY,FOCUS,STABILITY, or a controller's folder"
)


def agent_named(name: str) -> Agent:
    """The agent that a name stands for.

    Raises:
        InvalidValueError: no agent has this name, or gates are not three numbers in [0, 1].
        CheckpointError: the folder's controller is missing or damaged.
    """
    from agents.baselines import Fixed, Neutral, Random
    from agents.controller import Controller
    from agents.oracle import OneStepOracle

    known = {"neutral": Neutral, "random": Random, "oracle": OneStepOracle}
    if name in known:
        return known[name]()
    if name.startswith("static:"):
        return Fixed(_gates(name.removeprefix("static:")), name)
    if Path(name).is_dir():
        controller = Controller.load(name)
        controller.name = name.rstrip("/")
        return controller
    raise InvalidValueError("agent", f"must be one of {HELP}", name)


def _gates(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidValueError("agent", "must give its gates as three numbers, static:0.5,0,0", text) from error


def trained_env(agent: Agent) -> EnvConfig | None:
    """The environment that a controller was trained in; None for other agents."""
    from agents.controller import Controller
    from agents.env_config import EnvConfig

    return EnvConfig(**agent.config.training["env"]) if isinstance(agent, Controller) else None


def environment_for(agents: Sequence[Agent], env: EnvConfig, model: str | None) -> EnvConfig:
    """The environment that agents meet: what `env` leaves at its default comes from the first controller's training.

    Args:
        agents: some of which may be controllers.
        env: what was asked for.
        model: goes before all others; None: it does not.
    """
    trained_in = next(filter(None, map(trained_env, agents)), None)
    if trained_in is not None:
        defaults = type(env)()
        given = {field.name: getattr(env, field.name) for field in fields(env)}
        asked = {name: value for name, value in given.items() if value != getattr(defaults, name)}
        env = replace(trained_in, **asked)
    return env if model is None else replace(env, model=model)
