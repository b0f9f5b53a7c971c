"""Agents from their command-line names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from lm.errors import CheckpointError, InvalidValueError
from lm.paths import user_path

if TYPE_CHECKING:
    from agents.episodes.agent import Agent
    from agents.episodes.env_config import EnvConfig

HELP = (
    "neutral, random, oracle (the one-step oracle, slow), static:CREATIVITY,FOCUS,STABILITY, a decoding method "
    "(temperature, top-k, top-p, min-p, typical, top-n-sigma, edt, adapt, mirostat) with its parameters as in "
    "min-p:min_p=0.05,temperature=1.2, a JSON file of `tidal tune`, or the folder of a controller"
)


def agent_named(name: str) -> Agent:
    """The agent with a command-line name.

    Raises:
        InvalidValueError: no agent has this name, gates are not three numbers in [0, 1], or a decoding method does
            not have these parameters.
        CheckpointError: the controller is missing or damaged, or the file contains no tuning result.
    """
    from agents.baselines.baselines import Fixed, Neutral, Random
    from agents.baselines.decoders import DECODER_FAMILIES
    from agents.baselines.oracle import OneStepOracle
    from agents.baselines.tuning import read_tuning
    from agents.policy.controller import Controller

    known = {"neutral": Neutral, "random": Random, "oracle": OneStepOracle}
    if name in known:
        return known[name]()
    if name.startswith("static:"):
        return Fixed(_gates(name.removeprefix("static:")), name)
    family, _, parameters = name.partition(":")
    if family in DECODER_FAMILIES:
        decoder = DECODER_FAMILIES[family].agent(**_parameters(parameters, name))
        decoder.name = name
        return decoder
    path = user_path(name)
    if name.endswith(".json") and path.is_file():
        agent = read_tuning(path).agent()
        agent.name = name
        return agent
    if path.is_dir():
        controller = Controller.load(path)
        controller.name = name.rstrip("/")
        return controller
    if "/" in name or name.endswith(".json"):
        rule = "must be the existing folder of a controller, or JSON file of `tidal tune`"
        raise InvalidValueError("agent", rule, name, "`tidal train` and `tidal tune` make them.")
    near = difflib.get_close_matches(family, [*known, "static", *DECODER_FAMILIES], n=1)
    raise InvalidValueError("agent", f"must be one of {HELP}", name, f"Did you mean `{near[0]}`?" if near else "")


def _gates(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidValueError("agent", "must give its gates as three numbers, static:0.5,0,0", text) from error


def _parameters(text: str, name: str) -> dict[str, float]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    try:
        return {key: float(value) for key, _, value in pairs}
    except ValueError as error:
        raise InvalidValueError("agent", "must give its parameters as name=number,name=number", name) from error


def trained_env(agent: Agent, given: Mapping[str, Any]) -> EnvConfig | None:
    """The environment that a controller was trained in; None for other agents.

    Args:
        agent: any agent. A controller's file is untrusted.
        given: fields that replace those of the file.

    Raises:
        CheckpointError: the file describes no environment, or one that files may not choose.
    """
    from agents.episodes.env_config import EnvConfig
    from agents.policy.controller import Controller

    if not isinstance(agent, Controller):
        return None
    try:
        return EnvConfig.from_file(agent.config.training.get("env"), given)
    except InvalidValueError as error:
        raise CheckpointError(f"The environment that {agent.name} was trained in cannot be used: {error}") from error


def environment_for(agents: Sequence[Agent], env: EnvConfig, **given: Any) -> EnvConfig:
    """The environment for a comparison: fields of `env` at their defaults come from the first controller's training.

    Args:
        agents: agents to run, controllers among them or not.
        env: requested environment.
        given: fields that override all others, unless None.
    """
    given = {name: value for name, value in given.items() if value is not None}
    defaults = type(env)()
    asked = {field.name: getattr(env, field.name) for field in fields(env)}
    asked = {name: value for name, value in asked.items() if value != getattr(defaults, name)} | given
    trained_in = next(filter(None, (trained_env(agent, asked) for agent in agents)), None)
    return replace(env, **given) if trained_in is None else trained_in
