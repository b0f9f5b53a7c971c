"""Profile of an environment step on one core, by part and by operator, with a lower bound of its time.

python benchmarks/speed/profile_step.py --num_envs 64
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.results_file import write_result
from benchmarks.speed.decoding_contenders import make_env, random_actions
from benchmarks.speed.machine_rates import matrix_rate, operations_per_env_step
from lm.device import has_fast_bfloat16
from tidal_gym.dynamics.neutral_distribution import NeutralDistributionMeter
from tidal_gym.dynamics.streams import TwoStreams
from tidal_gym.envs import generation, vector_env
from tidal_gym.envs.scoring import Scoring

EPISODES, STEPS = 6, 50


class Stopwatch:
    """Cumulative seconds in functions; for the CPU, where calls are synchronous."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, owner: Any, name: str, label: str) -> None:
        """Replaces a function by a timed one."""
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **named)
            self.seconds[label] += time.perf_counter() - start
            return result

        setattr(owner, name, timed)


def floor(env: Any) -> dict[str, float]:
    """Lower bound of the time of a step, from its operations and memory reads and the rates of this machine.

    Every weight and every slot of the KV cache is read once per stream and step, since the streams evict each other
    from the processor's caches.
    """
    model, num_envs = env.bundle.model, env.num_envs
    weights = sum(parameter.numel() for parameter in model.parameters())
    slots = env._generation.texts()[0].shape[1]
    cache = 2 * model.config.num_hidden_layers * num_envs * slots * model.config.hidden_size
    size = model.dtype.itemsize
    counts = {"operations": num_envs * operations_per_env_step(env), "bytes": 2.0 * size * (weights + cache)}
    rates = {"operations": matrix_rate(model.dtype, "cpu"), "bytes": _memory_rate()}
    times = {f"seconds for {name}": count / rates[name] for name, count in counts.items()}
    return counts | {f"{name} per second": rate for name, rate in rates.items()} | times


def _memory_rate() -> float:
    """Bytes per second read by a sum over an array far larger than the caches, best of several."""
    array = torch.ones(2**26)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        array.sum()
        best = min(best, time.perf_counter() - start)
    return array.numel() * array.itemsize / best


def main() -> None:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_envs", type=int, default=64)
    parser.add_argument("--dtype", default="bfloat16" if has_fast_bfloat16() else "float32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one thread, all rows: times of parts that run side by side do not add up
    env = make_env("tidal-tiny", arguments.num_envs, arguments.dtype, "cpu")
    actions = random_actions(arguments.num_envs, STEPS)

    def episodes(count: int) -> float:
        env.reset(seed=0)
        start = time.perf_counter()
        for _ in range(count):
            for action in actions:
                env.step(action)
        return time.perf_counter() - start

    episodes(1)
    with profile(activities=[ProfilerActivity.CPU]) as operators:
        episodes(1)
    averages = sorted(operators.key_averages(), key=lambda row: -row.self_cpu_time_total)
    everything = sum(row.self_cpu_time_total for row in averages)
    by_operator = {row.key: row.self_cpu_time_total / everything for row in averages[:12]}

    stopwatch = Stopwatch()
    stopwatch.watch(TwoStreams, "gated_logits", "gated forward")
    stopwatch.watch(TwoStreams, "advance", "neutral forward")
    stopwatch.watch(TwoStreams, "read_prompts", "reading prompts")
    stopwatch.watch(generation, "modulate", "penalty, top-k, q")
    stopwatch.watch(NeutralDistributionMeter, "__call__", "neutral distribution, for reward and observation")
    stopwatch.watch(Scoring, "report", "reward")
    stopwatch.watch(vector_env, "draw", "draw")
    total = episodes(EPISODES) / (EPISODES * STEPS)
    parts = {label: seconds / (EPISODES * STEPS) for label, seconds in stopwatch.seconds.items()}
    parts["everything else"] = total - sum(parts.values())

    print(f"A step of N = {arguments.num_envs} in {arguments.dtype}: {1e3 * total:.2f} ms")
    for label, seconds in sorted(parts.items(), key=lambda part: -part[1]):
        print(f"  {label:<55} {1e3 * seconds:6.2f} ms  {seconds / total:4.0%}")
    least = floor(env)
    print("The least that it needs")
    for label, value in least.items():
        print(f"  {label:<55} {value:15,.4g}")
    print("By operator of torch (share of its own time)")
    for name, share in by_operator.items():
        print(f"  {name:<55} {share:15.0%}")
    content = {"arguments": vars(arguments), "threads": torch.get_num_threads(), "step_seconds": total}
    content |= {"parts": parts, "floor": least, "operators": by_operator}
    print(write_result(f"speed/profile-{arguments.num_envs}", content))


if __name__ == "__main__":
    main()
