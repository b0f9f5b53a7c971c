"""Ablation of the training recipe, on the training openings only.

Every variant is trained with a few seeds and evaluated on other episodes of the training openings. The held-out
openings are reserved for the final recipe (`tidal benchmark`). Variants in the result file are not run again, unless
--again is given.

    python benchmarks/controllers/recipe.py --steps 100000 --seeds 0 1
    python benchmarks/controllers/recipe.py --reward judge --steps 200000 --seeds 0 --static 0.2283 0.3804 0 \\
        --episodes 2048
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agents import EnvConfig, OneStepOracle, PPOConfig, TrainConfig, WarmStartConfig, evaluate, train
from agents.baselines.baselines import Fixed
from agents.episodes.agent import Agent
from benchmarks.controllers.preset import training_of
from benchmarks.results_file import RESULTS, write_result

DRAWN = PPOConfig(reward="drawn")
EXPECTED = PPOConfig(reward="expected")
SETTLED = replace(EXPECTED, learning_rate=7e-4)
WARM = WarmStartConfig(env_steps=50_000)

JUDGED = training_of("configs/ppo/judge.yaml")

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "tidal": {
        "drawn rewards": {"ppo": DRAWN},
        "expected rewards": {"ppo": EXPECTED},
        "warm start": {"ppo": SETTLED, "warm_start": WARM},
        "warm start, gamma 0": {"ppo": replace(SETTLED, gamma=0.0), "warm_start": WARM},
        "warm start, gamma 0.6": {"ppo": replace(SETTLED, gamma=0.6), "warm_start": WARM},
        "warm start, drawn rewards": {"ppo": replace(SETTLED, reward="drawn"), "warm_start": WARM},
        "warm start, 4 candidates": {"ppo": SETTLED, "warm_start": replace(WARM, candidates=4)},
        "warm start, 20,000 steps": {"ppo": SETTLED, "warm_start": replace(WARM, env_steps=20_000)},
    },
    "judge": {
        "expected rewards": {"ppo": replace(JUDGED.ppo, learning_rate=1e-3)},
        "warm start": {"ppo": JUDGED.ppo, "warm_start": replace(JUDGED.warm_start, look_ahead=False)},
        "warm start that looks ahead": {"ppo": JUDGED.ppo, "warm_start": JUDGED.warm_start},
    },
}
"""Changes to the default configuration, by reward and name."""


def main() -> None:
    """Measures the reference agents once, then each missing variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reward", choices=list(VARIANTS), default="tidal")
    parser.add_argument("--variants", nargs="+", default=None, help="default: all of the reward")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=100_000, help="env steps of each run")
    parser.add_argument("--static", type=float, nargs=3, default=(0.2957, 0.0, 0.0248), help="the best static setting")
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--oracle_episodes", type=int, default=64)
    parser.add_argument("--evaluation_seed", type=int, default=777)
    parser.add_argument("--again", action="store_true", help="run what the result file holds already")
    parser.add_argument("--output", default="runs/recipe")
    arguments = parser.parse_args()
    env, variants = EnvConfig(reward=arguments.reward), VARIANTS[arguments.reward]
    if unknown := set(arguments.variants or ()) - set(variants):
        parser.error(f"--variants must be of {', '.join(variants)}; received {', '.join(unknown)}.")

    def returns_of(agent: Agent, episodes: int) -> np.ndarray:
        found = evaluate(agent, env, prompts="train", episodes=episodes, seed=arguments.evaluation_seed)
        print(f"    {agent.name}: {found.mean_return}", flush=True)
        return np.array(found.returns)

    name_of_result = "controllers/recipe" + ("" if arguments.reward == "tidal" else f"-{arguments.reward}")
    path = RESULTS / f"{name_of_result}.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    runs: list[dict[str, Any]] = result.get("runs", [])
    count = arguments.oracle_episodes
    if result:
        marks = result["yardsticks"]
        known = result["evaluation_seed"], tuple(marks["static_gates"]), marks["oracle_episodes"]
        if known != (arguments.evaluation_seed, tuple(arguments.static), count):
            parser.error(f"{path} holds figures of other episodes or static gates {known}: move it away first.")
    if "yardsticks" not in result:
        static = returns_of(Fixed(arguments.static, "best static"), arguments.episodes)
        oracle = returns_of(OneStepOracle(), count)
        result["yardsticks"] = {
            "static_gates": arguments.static,
            "best static": static.mean(),
            "best static on the oracle's episodes": static[:count].mean(),
            "one-step oracle": oracle.mean(),
            "oracle_episodes": count,
        }
    marks = result["yardsticks"]
    gap = marks["one-step oracle"] - marks["best static on the oracle's episodes"]
    for name in arguments.variants or variants:
        for seed in arguments.seeds:
            key = {"variant": name, "seed": seed, "steps": arguments.steps}
            known = [run for run in runs if key.items() <= run.items()]
            if known and not arguments.again:
                continue
            runs = [run for run in runs if run not in known]
            start = time.perf_counter()
            config = TrainConfig(env=env, total_steps=arguments.steps, seed=seed, **variants[name])
            folder = Path(arguments.output) / f"{arguments.reward}-{name.replace(' ', '-').replace(',', '')}-{seed}"
            controller = train(config, folder, overwrite=True)
            returns = returns_of(controller, arguments.episodes)
            closed = (returns.mean() - marks["best static"]) / gap
            run = {
                **key,
                "return": returns.mean(),
                "standard_error": returns.std(ddof=1) / len(returns) ** 0.5,
                "gap_closed": closed,
                "seconds": time.perf_counter() - start,
            }
            runs.append(run)
            print(f"{name}, seed {seed}: {run['return']:.2f}, {closed:.0%} of the gap", flush=True)
            kept = {"prompts": "train", "evaluation_seed": arguments.evaluation_seed, "yardsticks": marks}
            write_result(name_of_result, {**kept, "runs": runs})


if __name__ == "__main__":
    main()
