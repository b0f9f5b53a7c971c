"""Compares PPO-Lagrangian under a diversity floor with training on the weighted reward.

Trains controllers on a reward without a diversity term: with the constraint, with the constraint but without the
multiplier's gain, and without the constraint. Evaluates them on the same held-out episodes. Existing runs are resumed.

    python benchmarks/controllers/constrained.py --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from agents import Evaluation, Neutral, evaluate, train
from agents.episodes.agent import Agent
from agents.training.learning_curve import read_learning_curve
from agents.training.run import CURVE_FILE
from benchmarks.controllers.preset import training_of
from benchmarks.results_file import write_result


def main() -> None:
    """Trains, evaluates and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/ppo/diversity-floor.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--total_steps", type=int, default=None, help="instead of the configuration's")
    parser.add_argument("--episodes", type=int, default=512, help="held-out episodes per controller")
    parser.add_argument("--evaluation_seed", type=int, default=1, help="of the held-out episodes")
    parser.add_argument("--output", default="runs/constrained")
    arguments = parser.parse_args()

    config = training_of(arguments.config)
    if arguments.total_steps is not None:
        config = dataclasses.replace(config, total_steps=arguments.total_steps)
    floor, constraint = config.env.cost_bound, config.ppo.constraint
    assert constraint is not None
    constraints = {
        "weighted reward": None,
        "with the constraint": constraint,
        "without the gain": dataclasses.replace(constraint, multiplier_gain=0.0),
    }
    assert floor is not None and config.env.cost == "diversity_floor"

    def held_out(name: str, agent: Agent) -> dict[str, Any]:
        seed, episodes = arguments.evaluation_seed, arguments.episodes
        row = summary(evaluate(agent, config.env, prompts="heldout", episodes=episodes, seed=seed), floor)
        print(f"{name:>24}: diversity {row['diversity']} (floor {floor}), return {row['mean_return']}", flush=True)
        return row

    result: dict[str, Any] = {
        "config": dataclasses.asdict(config),
        "episodes": arguments.episodes,
        "evaluation_seed": arguments.evaluation_seed,
        "floor": floor,
        "neutral": held_out("neutral", Neutral()),
        **{name: [] for name in constraints},
    }
    for seed in arguments.seeds:
        for name, chosen in constraints.items():
            variant = dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, constraint=chosen))
            folder = Path(arguments.output) / f"{name.replace(' ', '-')}-{seed}"
            controller = train(dataclasses.replace(variant, seed=seed), folder, resume=folder.exists())
            row: dict[str, Any] = {"seed": seed, **held_out(f"{name}, seed {seed}", controller)}
            if chosen is not None:
                points = read_learning_curve(folder / CURVE_FILE)
                row["multiplier"] = {point.step: point.multiplier for point in points}
                row["episode_cost"] = {point.step: point.episode_cost for point in points}
            result[name].append(row)
    for name in constraints:
        means = [row["diversity"]["mean"] for row in result[name]]
        result[f"largest distance from the floor, {name}"] = max(abs(mean - floor) for mean in means)
    print(write_result("controllers/constrained", result))


def summary(evaluation: Evaluation, floor: float) -> dict[str, Any]:
    """Figures of an evaluation.

    The cost of an episode is the sum of floor - diversity over its tokens, so that the mean diversity over tokens is
    the floor minus mean cost / mean length, and its interval follows from that of the cost.
    """
    cost, length = evaluation.mean_cost, evaluation.text.length
    assert cost is not None
    return {
        "diversity": {
            "mean": floor - cost.mean / length,
            "low": floor - cost.high / length,
            "high": floor - cost.low / length,
        },
        "mean_return": dataclasses.asdict(evaluation.mean_return),
        "term_sums": evaluation.term_sums,
        "gate_means": {name: gate.mean for name, gate in evaluation.gates.items()},
        "gate_standard_deviations": {name: gate.std for name, gate in evaluation.gates.items()},
        "text": dataclasses.asdict(evaluation.text),
    }


if __name__ == "__main__":
    main()
