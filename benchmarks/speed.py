"""Speed of the vector env beside the bare two-stream decode loop of the same model, which is its limit.

Both run whole episodes, prompts included, in turn in one process; the ratio is of medians.

    python benchmarks/speed.py --num_envs 64 256
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from results_file import write_result

from lm.bundle import load_bundle
from lm.decoding import accepts_gates, open_stream
from tidal_gym.vector_env import TidalGatingVectorEnv

PROMPT_TOKENS = 11
"""Longest prompt, with the beginning-of-text token."""


def bare_loop(model: str, num_rows: int, steps: int) -> Callable[[], None]:
    """Both streams reading prompts and then random tokens: the forward passes of an episode and nothing else."""
    bundle = load_bundle(model)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, bundle.vocab_size, (steps + 1, num_rows), generator=generator)
    prompts = torch.randint(0, bundle.vocab_size, (num_rows, PROMPT_TOKENS), generator=generator)
    lengths = torch.randint(4, PROMPT_TOKENS + 1, (num_rows,), generator=generator)
    gates = torch.rand(num_rows, 3, generator=generator)
    rows = torch.arange(num_rows)
    capacity = PROMPT_TOKENS + steps + 1
    neutral, gated = (open_stream(bundle.model, num_rows, capacity) for _ in range(2))
    signals = gates if accepts_gates(bundle.model) else None

    def episode() -> None:
        neutral.prefill(rows, prompts, lengths)
        gated.adopt(neutral, rows, lengths - 1)
        for step in range(steps):
            gated.step(tokens[step], signals, gates[:, 1])
            neutral.step(tokens[step + 1])

    return episode


def vector_env(model: str, num_rows: int, steps: int) -> Callable[[], None]:
    """The environment under random actions."""
    env = TidalGatingVectorEnv(num_rows, model=model, max_episode_steps=steps, autoreset_mode="SameStep")
    actions = np.random.default_rng(0).random((steps, num_rows, 3), dtype=np.float32)
    env.reset(seed=0)

    def episode() -> None:
        for action in actions:
            env.step(action)

    return episode


def seconds_of(run: Callable[[], None]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tidal-tiny")
    parser.add_argument("--num_envs", type=int, nargs="+", default=[64])
    parser.add_argument("--steps", type=int, default=50, help="tokens of an episode")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    rows = []
    for num_envs in arguments.num_envs:
        contenders = {
            "bare two-stream loop": bare_loop(arguments.model, num_envs, arguments.steps),
            "vector env": vector_env(arguments.model, num_envs, arguments.steps),
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for repeat in range(arguments.repeats + 1):
            for name, run in contenders.items():
                elapsed = seconds_of(run)
                if repeat:  # the first warms up
                    times[name].append(elapsed)
        steps = num_envs * arguments.steps
        median = {name: float(np.median(seconds)) for name, seconds in times.items()}
        ratio = median["bare two-stream loop"] / median["vector env"]
        rows.append({"num_envs": num_envs, "ratio": ratio, "seconds": times, "median_seconds": median})
        for name, seconds in median.items():
            low, high = min(times[name]), max(times[name])
            milliseconds = 1e3 / arguments.steps
            print(
                f"N = {num_envs:4d}  {name:>20}: {milliseconds * seconds:6.2f} ms a step "
                f"[{milliseconds * low:.2f}, {milliseconds * high:.2f}], {steps / seconds:8,.0f} env steps/s"
            )
        print(f"N = {num_envs:4d}  the vector env has {ratio:.0%} of the bare loop's speed")
    print(write_result("speed", {"model": arguments.model, "steps": arguments.steps, "runs": rows}))


if __name__ == "__main__":
    main()
