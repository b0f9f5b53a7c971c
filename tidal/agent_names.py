"""Agents by the names that the command line knows them by."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lm.errors import CheckpointError, InvalidValueError

if TYPE_CHECKING:
    from agents.agent import Agent
    from agents.decoders import Decoder
    from agents.env_config import EnvConfig

HELP = (
    "neutral, random, oracle (the one-step oracle, slow), static:CREATIVITY,FOCUS,STABILITY, a decoding method "
    "(temperature, top-k, top-p, min-p, typical, top-n-sigma, edt, adapt, mirostat) with its parameters as in "
    "min-p:min_p=0.05,temperature=1.2, a JSON file with family and parameters of a tuned one, or a controller's folder"
)


def agent_named(name: str) -> Agent:
    """The agent that a name stands for.

    Raises:
        InvalidValueError: no agent has this name, gates are not three numbers in [0, 1], or a decoding method has no
            such parameters.
        CheckpointError: the folder's controller is missing or damaged, or the file holds no tuned decoder.
    """
    from agents.baselines import Fixed, Neutral, Random
    from agents.controller import Controller
    from agents.decoders import DECODER_FAMILIES
    from agents.oracle import OneStepOracle

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
    if name.endswith(".json") and Path(name).is_file():
        decoder = _tuned(Path(name))
        decoder.name = name
        return decoder
    if Path(name).is_dir():
        controller = Controller.load(name)
        controller.name = name.rstrip("/")
        return controller
    if "/" in name or name.endswith(".json"):
        rule = "must be the existing folder of a controller, or JSON file of a tuned decoding method"
        raise InvalidValueError("agent", rule, name, "`tidal train` and `tidal tune` make them.")
    near = difflib.get_close_matches(family, [*known, "static", *DECODER_FAMILIES], n=1)
    raise InvalidValueError("agent", f"must be one of {HELP}", name, f"Did you mean `{near[0]}`?" if near else "")


def _gates(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidValueError("agent", "must give its gates as three numbers, static:0.5,0,0", text) from error


def _tuned(path: Path) -> Decoder:
    from agents.decoders import decoder

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        family, parameters = str(content["family"]), dict(content["parameters"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} holds no tuned decoder: {error!r}") from error
    return decoder(family, **parameters)


def _parameters(text: str, name: str) -> dict[str, float]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    try:
        return {key: float(value) for key, _, value in pairs}
    except ValueError as error:
        raise InvalidValueError("agent", "must give its parameters as name=number,name=number", name) from error


def trained_env(agent: Agent) -> EnvConfig | None:
    """The environment that a controller was trained in; None for other agents."""
    from agents.controller import Controller
    from agents.env_config import EnvConfig

    if not isinstance(agent, Controller):
        return None
    try:
        return EnvConfig(**agent.config.training["env"])
    except (KeyError, TypeError) as error:
        rule = "must tell the environment that it was trained in, as this release knows it"
        raise InvalidValueError("agent", rule, f"a controller with {error!r}") from error


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
