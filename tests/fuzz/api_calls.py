"""Bad calls from Python: every field of every configuration, and the parameters of the public functions and classes.

Oracle: each call is bad by construction (:mod:`tests.fuzz.bad_values`, and ``BY_HAND`` below), and is to raise an error
of the project (``TidalGymError``), or for the library's own mistakes of the caller Gymnasium's.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from lm.errors import TidalGymError
from tests.fuzz.attempt import attempt
from tests.fuzz.bad_values import bad_values, drawn
from tests.fuzz.command_lines import judged
from tests.fuzz.documentation import documented

ANY_FINITE = {("CarlRewardConfig", "weight")}
"""Fields whose documentation states the range of something else."""
READ_FROM_FILES_ALONE = {"ControllerConfig", "GatedTransformerConfig", "TuneConfig"}


@dataclass(frozen=True)
class BadCall:
    """A call that is to be refused."""

    call: Callable[[], Any]
    why: str


def configurations() -> list[type]:
    """Every dataclass of the packages that is called a configuration."""
    found = []
    for package in ("lm", "tidal_gym", "agents", "tidal"):
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            if module.name.endswith("__main__"):
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                is_ours = dataclasses.is_dataclass(value) and getattr(value, "__module__", "") == module.name
                if is_ours and name.endswith("Config") and name not in READ_FROM_FILES_ALONE:
                    found.append(value)
    return found


def bad_calls(materials: Path, *, values_each: int, seed: int) -> list[BadCall]:
    """Bad calls, so many for each field and parameter, and those of ``by_hand``."""
    calls = list(by_hand(materials))
    kinds = configurations()
    for number, kind in enumerate(kinds):
        use = _use_of(kind, kinds, materials)
        for place, (name, (annotation, text)) in enumerate(documented(kind).items()):
            strategy = bad_values(annotation, text, name if kind.__name__ == "EnvConfig" else "")
            if strategy is None or dataclasses.is_dataclass(annotation) or (kind.__name__, name) in ANY_FINITE:
                continue
            for value in drawn(strategy, values_each, seed + 100 * number + place):
                calls.append(_call(f"{kind.__name__}({name}={value!r})", use, {name: value}))
    for number, (name, (target, legal)) in enumerate(callables(materials).items()):
        for place, (parameter, (annotation, text)) in enumerate(documented(target).items()):
            if dataclasses.is_dataclass(annotation) or (strategy := bad_values(annotation, text, parameter)) is None:
                continue
            for value in drawn(strategy, values_each, seed + 7000 + 100 * number + place):
                calls.append(_call(f"{name}({parameter}={value!r})", target, {**legal, parameter: value}))
    random.Random(seed).shuffle(calls)
    return calls


def try_call(case: BadCall, seconds: float) -> tuple[str, str]:
    """One of ``attempt.KINDS``, and what was seen."""
    return judged(attempt(case.call, seconds=seconds))


def callables(materials: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Public functions and classes, each with the arguments of its smallest right call."""
    import tidal_gym
    from agents import TPE, Fixed, Neutral, Planner, Random, SuccessiveHalving, evaluate, generate_tokens, tune
    from agents.baselines.decoders import decoder
    from agents.episodes.env_config import EnvConfig
    from lm.carl import GrowingReward, PhaseTransitionGate, carl_reward, coherence_gate, t_star
    from lm.decoding.logits_processors import (
        AdapTLogitsProcessor,
        EDTLogitsProcessor,
        MirostatV2LogitsProcessor,
        TopNSigmaLogitsProcessor,
    )
    from lm.rlm.grammar import RandomGrammar

    model = str(materials / "model")
    env = EnvConfig(model=model, max_episode_steps=4)
    world = {"model": model, "max_episode_steps": 4}
    few = {"env": env, "num_envs": 2}
    generator = np.random.default_rng(0)
    logits, ids = generator.normal(size=(5, 11)), generator.integers(0, 11, 5)

    return {
        "TidalGatingEnv": (tidal_gym.TidalGatingEnv, world),
        "TidalGatingVectorEnv": (tidal_gym.TidalGatingVectorEnv, world),
        "TidalRLMVectorEnv": (tidal_gym.TidalRLMVectorEnv, {}),
        "Random": (Random, {}),
        "Planner": (Planner, {"depth": 2, "continuation": Neutral()}),
        "evaluate": (evaluate, {"agent": Neutral(), "episodes": 2, **few}),
        "SuccessiveHalving": (SuccessiveHalving, {}),
        "TPE": (TPE, {}),
        "tune static": (tune, {"family": "static", "strategy": SuccessiveHalving(2), "env_steps": 16, **few}),
        "tune min-p": (tune, {"family": "min-p", "env_steps": 16, **few}),
        "generate_tokens": (
            _listed(generate_tokens),
            {"agent": Neutral(), "env": env, "prompt": "Once", "max_tokens": 3},
        ),
        "Fixed": (Fixed, {"gates": (0.5, 0, 0)}),
        "decoder": (_named(decoder), {"name": "min-p"}),
        "TopNSigmaLogitsProcessor": (TopNSigmaLogitsProcessor, {"n_sigma": 1.0}),
        "AdapTLogitsProcessor": (AdapTLogitsProcessor, {"challenging_temperature": 1.0, "confident_temperature": 0.5}),
        "EDTLogitsProcessor": (EDTLogitsProcessor, {"base_temperature": 1.0, "theta": 1.0}),
        "MirostatV2LogitsProcessor": (MirostatV2LogitsProcessor, {"tau": 3.0}),
        "t_star": (t_star, {"dimension": 768}),
        "coherence_gate": (coherence_gate, {"phi_mean": 0.5}),
        "PhaseTransitionGate": (PhaseTransitionGate, {}),
        "carl_reward": (carl_reward, {"logits": logits, "token_ids": ids}),
        "GrowingReward": (GrowingReward, {"num_rows": 1, "capacity": 4, "vocab_size": 11}),
        "RandomGrammar": (RandomGrammar, {"vocab_size": 5, "depth": 2, "beta": 1.0}),
    }


def by_hand(materials: Path) -> Iterator[BadCall]:
    """What arrays, seeds and options must not be."""
    from agents import Controller, Fixed, Neutral, generate_tokens
    from agents.episodes.env_config import EnvConfig
    from lm.carl import carl_reward, compute_phi
    from lm.data.documents import read_documents
    from lm.models.bundle import load_bundle
    from tidal_gym import TidalGatingEnv, TidalGatingVectorEnv

    model = str(materials / "model")

    def single() -> TidalGatingEnv:
        return TidalGatingEnv(model=model, max_episode_steps=4)

    def several() -> TidalGatingVectorEnv:
        return TidalGatingVectorEnv(2, model=model, max_episode_steps=4, autoreset_mode="Disabled")

    def after_reset(env: Any, action: Any) -> Any:
        env.reset(seed=0)
        return env.step(action)

    for seed in (-1, 1.5, "x", [1], float("nan"), True, {"a": 1}):
        yield BadCall(lambda seed=seed: single().reset(seed=seed), f"TidalGatingEnv.reset(seed={seed!r})")
    for seed in (-1, 1.5, "x", [1], [1, 2, 3], [1.5, 2], [-1, 2], ["a", "b"], float("nan"), [None, "x"]):
        yield BadCall(lambda seed=seed: several().reset(seed=seed), f"TidalGatingVectorEnv.reset(seed={seed!r})")
    for options in (
        {"no_such": 1},
        [1],
        "x",
        {"reset_mask": [True]},
        {"reset_mask": np.ones(3, bool)},
        {"reset_mask": np.zeros(2, bool)},
        {"reset_mask": "x"},
        {"mask": np.ones(2, bool)},
        3,
    ):
        yield BadCall(
            lambda o=options: (several().reset(seed=0), several().reset(seed=0, options=o)),
            f"TidalGatingVectorEnv.reset(options={options!r})",
        )
        yield BadCall(lambda o=options: single().reset(seed=0, options=o), f"TidalGatingEnv.reset(options={options!r})")
    for action in (
        (0.1, 0.2),
        (0.1, 0.2, 0.3, 0.4),
        0.5,
        "abc",
        None,
        (np.nan, 0, 0),
        (np.inf, 0, 0),
        (-0.5, 0, 0),
        (1.5, 0, 0),
        [[0.1, 0.2, 0.3]],
        {"a": 1},
        ("a", "b", "c"),
        (1j, 0, 0),
        (None, 0, 0),
    ):
        yield BadCall(lambda a=action: after_reset(single(), a), f"TidalGatingEnv.step({action!r})")
        yield BadCall(lambda a=action: after_reset(several(), [a, a, a]), f"TidalGatingVectorEnv.step(3 of {action!r})")
        if action != [[0.1, 0.2, 0.3]]:
            yield BadCall(lambda a=action: Fixed(a), f"Fixed({action!r})")
    yield BadCall(_refusing_gymnasium(lambda: single().step((0, 0, 0))), "TidalGatingEnv.step before reset")
    yield BadCall(
        _refusing_gymnasium(lambda: several().step([(0, 0, 0)] * 2)), "TidalGatingVectorEnv.step before reset"
    )
    for array in (
        np.full((3, 4), np.nan),
        np.zeros(4),
        np.zeros((0, 4)),
        np.zeros((3, 1)),
        np.array([["a", "b"]]),
        None,
        "text",
        np.array([[None, 1]], object),
        np.zeros((2, 2, 2, 2)),
        [[1, 2], [3]],
        {"a": 1},
        np.zeros((3, 4), complex),
    ):
        yield BadCall(lambda a=array: compute_phi(a), f"compute_phi({array!r})")
        yield BadCall(lambda a=array: carl_reward(a, [0, 1, 0]), f"carl_reward({array!r})")
    logits = np.zeros((3, 4))
    for ids in (
        [0, 1],
        [0, 1, 4],
        [0, 1, -1],
        [0.5, 1, 2],
        ["a", "b", "c"],
        None,
        [[0, 1, 2], [0, 1, 2]],
        [np.nan, 1, 2],
        "abc",
    ):
        yield BadCall(lambda i=ids: carl_reward(logits, i), f"carl_reward(token_ids={ids!r})")
    for path in ("", "nowhere", "\x00", str(materials), str(materials / "text.txt"), str(materials / "model"), 3, None):
        yield BadCall(lambda p=path: Controller.load(p), f"Controller.load({path!r})")
        if path != str(materials / "model"):
            yield BadCall(lambda p=path: load_bundle(p), f"load_bundle({path!r})")
        if path != str(materials / "text.txt"):
            yield BadCall(lambda p=path: list(read_documents(p)), f"read_documents({path!r})")
    for shape in ((3,), (2, 63), (2, 65), (2, 3, 64), ()):
        yield BadCall(
            lambda s=shape: Controller.load(materials / "train").act(np.zeros(s)), f"Controller.act of shape {shape}"
        )
    for stop in ([""], [1], 3, [None], {"a": 1}):
        yield BadCall(
            lambda s=stop: list(generate_tokens(Neutral(), EnvConfig(model=model), "Once", max_tokens=2, stop=s)),
            f"generate_tokens(stop={stop!r})",
        )
    for prompt in ("", None, 3, ["a"], " " * 5000 + "x " * 5000):
        yield BadCall(
            lambda p=prompt: list(generate_tokens(Neutral(), EnvConfig(model=model), p, max_tokens=2)),
            f"generate_tokens(prompt={str(prompt)[:20]!r})",
        )


def _call(why: str, target: Callable[..., Any], arguments: dict[str, Any]) -> BadCall:
    return BadCall(lambda: target(**arguments), why)


def _listed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose generator is run to its end; with its documentation."""

    @functools.wraps(function)
    def listed(*arguments: Any, **options: Any) -> Any:
        return list(function(*arguments, **options))

    return listed


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose first parameter is given by position."""

    @functools.wraps(function)
    def named(*, name: Any, **options: Any) -> Any:
        return function(name, **options)

    return named


def _refusing_gymnasium(call: Callable[[], Any]) -> Callable[[], Any]:
    """Gymnasium has an error of its own for a step before the reset."""

    def refusing() -> Any:
        try:
            return call()
        except gymnasium.error.ResetNeeded as error:
            raise TidalGymError(str(error)) from error

    return refusing


def _use_of(kind: type, kinds: list[type], materials: Path) -> Callable[..., Any]:
    """Makes a configuration, and whatever holds it and checks it; an environment's is checked when it is made."""
    from agents.episodes.env_config import EnvConfig

    if kind is EnvConfig:
        legal = {"model": str(materials / "model"), "max_episode_steps": 4}
        return lambda **fields: EnvConfig(**{**legal, **fields}).make(1)
    holders = [
        (holder, name) for holder in kinds for name, (annotation, _) in documented(holder).items() if annotation is kind
    ]
    if holders and kind.__name__ in (
        "ModelConfig",
        "DataConfig",
        "TrainingConfig",
        "ControlCodeConfig",
        "GrammarConfig",
        "ExamplesConfig",
        "OptimizationConfig",
        "CarlDataConfig",
        "FineTuningConfig",
        "PolicyConfig",
    ):
        holder, name = holders[0]
        return lambda **fields: holder(**{name: kind(**fields)})
    return kind
