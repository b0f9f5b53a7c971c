"""How much of the gap between the best static setting and the one-step oracle a learned controller closes.

Tunes the best static setting on the training prompts, trains one controller per seed, and evaluates everybody on the
same held-out episodes.

    python benchmarks/controllers.py --config configs/ppo/tidal-tiny.yaml --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from results_file import write_result

from agents import EnvConfig, Neutral, OneStepOracle, Random, TrainConfig, evaluate, train, tune_static
from agents.agent import Agent
from agents.evaluation import Evaluation
from tidal.parsing import config_of, new_parser


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The figures that are kept of an evaluation."""
    return {
        "mean_return": dataclasses.asdict(evaluation.mean_return),
        "gate_means": {name: gate.mean for name, gate in evaluation.gates.items()},
        "gate_standard_deviations": {name: gate.std for name, gate in evaluation.gates.items()},
        "term_sums": evaluation.term_sums,
        "perplexity": evaluation.perplexity,
        "sampling_entropy": evaluation.sampling_entropy,
        "text": dataclasses.asdict(evaluation.text),
    }


def main() -> None:
    """Tune, train, evaluate, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/ppo/tidal-tiny.yaml")
    parser.add_argument("--model", default=None, help="instead of the configuration's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=512, help="held-out episodes per agent")
    parser.add_argument("--evaluation_seed", type=int, default=1, help="of the held-out episodes")
    parser.add_argument("--oracle_episodes", type=int, default=128, help="the first so many of them for the oracle")
    parser.add_argument("--static_settings", type=int, default=256)
    parser.add_argument("--static_steps", type=int, default=300_000)
    parser.add_argument("--output", default="runs/controllers")
    parser.add_argument("--name", default="controllers", help="of the result file")
    arguments = parser.parse_args()

    typed = new_parser("train", "")
    typed.add_class_arguments(TrainConfig)
    config = config_of(typed, typed.parse_args(["--config", arguments.config]), TrainConfig)
    if arguments.model is not None:
        config = dataclasses.replace(config, env=dataclasses.replace(config.env, model=arguments.model))
    env: EnvConfig = config.env

    def held_out(agent: Agent, episodes: int = arguments.episodes) -> Evaluation:
        start = time.perf_counter()
        evaluation = evaluate(agent, env, prompts="heldout", episodes=episodes, seed=arguments.evaluation_seed)
        deviations = ", ".join(f"{gate.std:.2f}" for gate in evaluation.gates.values())
        seconds = time.perf_counter() - start
        print(f"{agent.name:>16}: {evaluation.mean_return}  gates' sd {deviations}  ({seconds:.0f} s)", flush=True)
        return evaluation

    tuning = tune_static(env, num_settings=arguments.static_settings, env_steps=arguments.static_steps, seed=0)
    print(f"best static {tuning.gates} after {tuning.env_steps} steps, {tuning.num_settings} settings", flush=True)
    static = held_out(tuning.agent())
    oracle = held_out(OneStepOracle(), arguments.oracle_episodes)
    count = len(oracle.returns)
    gap = float(np.mean(oracle.returns) - np.mean(static.returns[:count]))
    result: dict[str, Any] = {
        "config": dataclasses.asdict(config),
        "episodes": arguments.episodes,
        "evaluation_seed": arguments.evaluation_seed,
        "oracle_episodes": count,
        "tuning": tuning.to_json(),
        "neutral": summary(held_out(Neutral())),
        "random": summary(held_out(Random())),
        "best static": summary(static),
        "one-step oracle": summary(oracle),
        "controllers": [],
    }
    for seed in arguments.seeds:
        start = time.perf_counter()
        folder = Path(arguments.output) / f"seed-{seed}"
        controller = train(dataclasses.replace(config, seed=seed), folder, overwrite=True)
        seconds = time.perf_counter() - start
        learned = held_out(controller)
        gain = float(np.mean(learned.returns[:count]) - np.mean(static.returns[:count]))
        row = {"seed": seed, "train_seconds": round(seconds, 1), "gap_closed": gain / gap, **summary(learned)}
        result["controllers"].append(row)
        print(
            f"    seed {seed}: closes {gain / gap:.0%} of the gap on the oracle's episodes, {seconds:.0f} s", flush=True
        )
    print(write_result(arguments.name, result))


if __name__ == "__main__":
    main()
