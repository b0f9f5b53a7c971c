"""Compares planners that look 1, 2 and 4 tokens ahead on the same held-out episodes.

python benchmarks/controllers/planner.py --controller runs/benchmark/controllers/seed-0 --episodes 128 --num_envs 64
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from agents import Controller, EnvConfig, OneStepOracle, Planner, evaluate, paired_difference
from benchmarks.results_file import write_result


def main() -> None:
    """Runs the oracle and the planners; writes returns and advantages over the oracle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--controller", required=True, help="controller that acts on the copies after the first token")
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--num_envs", type=int, default=16, help="episodes that run side by side")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--evaluation_seed", type=int, default=1)
    arguments = parser.parse_args()

    controller = Controller.load(arguments.controller)
    planners = [
        Planner(depth, controller, candidates=arguments.candidates, rollouts=arguments.rollouts)
        for depth in arguments.depths
    ]
    evaluations = {}
    rows: list[dict[str, Any]] = []
    for agent in (controller, OneStepOracle(), *planners):
        start = time.perf_counter()
        found = evaluations[agent.name] = evaluate(
            agent, EnvConfig(), episodes=arguments.episodes, seed=arguments.evaluation_seed, num_envs=arguments.num_envs
        )
        seconds = time.perf_counter() - start
        row: dict[str, Any] = {"agent": agent.name, "return": asdict(found.mean_return), "seconds": round(seconds, 1)}
        if oracle := evaluations.get(OneStepOracle.name):
            row["more_than_oracle"] = asdict(paired_difference(found, oracle))
        rows.append(row)
        print(f"{agent.name:>16}: {found.mean_return}  {row.get('more_than_oracle')}  ({seconds:.0f} s)", flush=True)
    print(
        write_result(
            "controllers/planner",
            {"arguments": vars(arguments), "training": controller.config.training, "agents": rows},
        )
    )


if __name__ == "__main__":
    main()
