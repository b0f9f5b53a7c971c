"""Speed benchmarks: decoding, PPO, pretraining and start-up, compared with lower bounds and other libraries.

    make bench                                                       # all of it, some eight minutes on 2 cores
    python benchmarks/speed/speed.py --only decoding growth --repeats 21  # some of it, longer
    python benchmarks/speed/speed.py --device cuda --num_envs 16384  # on a GPU

Contenders run in turn in one process; a figure is the median over the repeats. The table is printed, and written with
every single figure to benchmarks/results/speed/speed-<device>.json (with --only, speed-<device>-<topics>.json).
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from benchmarks.results_file import write_result
from benchmarks.speed import pretraining_contenders as lm_runs
from benchmarks.speed.decoding_contenders import (
    bare_loop,
    collecting,
    full_ppo,
    make_env,
    random_bundle,
    textbook,
    transformers_generate,
    vector_env,
)
from benchmarks.speed.machine_rates import matrix_rate, operations_per_env_step
from benchmarks.speed.side_by_side import Contender, Speed, measure, ratio
from lm.device import has_fast_bfloat16


@dataclass(frozen=True)
class Settings:
    """Settings of the measurements."""

    device: str
    dtype: str
    num_envs: int
    repeats: int
    folder: Path


@dataclass
class Results:
    """Rows of the table, and all figures."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, topic: str, what: str, value: str, goal: str = "") -> None:
        """Adds a row to the table."""
        self.rows.append({"topic": topic, "what": what, "value": value, "goal": goal})
        print(f"[{topic}] {what}: {value}" + (f" (goal {goal})" if goal else ""), flush=True)

    def compare(self, topic: str, contenders: dict[str, Contender], repeats: int, unit: str) -> dict[str, Speed]:
        """Measures contenders; adds a row for each."""
        speeds = measure(contenders, repeats)
        self.figures[topic] = {name: asdict(speed) for name, speed in speeds.items()}
        for name, speed in speeds.items():
            low, high = speed.spread
            self.add(topic, name, f"{speed.median:,.0f} {unit}/s [{low:,.0f}, {high:,.0f}]")
        return speeds


def decoding(settings: Settings, results: Results) -> None:
    """Compares the environment with its forward passes, and PPO with the environment."""
    model = "tidal-tiny"
    sizes = {settings.num_envs: "85%", 4 * settings.num_envs: "80%"}
    for num_envs, goal in sizes.items():
        env = make_env(model, num_envs, settings.dtype, settings.device)
        repeats = settings.repeats if num_envs == settings.num_envs else max(3, settings.repeats // 2)
        topic = f"decoding, N = {num_envs}"
        contenders = {"bare two-stream loop": bare_loop(env, 50), "vector env": vector_env(env, 50)}
        speeds = results.compare(topic, contenders, repeats, "env steps")
        share = ratio(speeds, "vector env", "bare two-stream loop")
        results.add(topic, "vector env / bare loop", f"{share:.0%}", f">= {goal}")
        rate = speeds["bare two-stream loop"].median * operations_per_env_step(env)
        peak = matrix_rate(getattr(torch, settings.dtype), settings.device)
        results.figures[topic] |= {"matrix_rate": peak, "operations_per_env_step": operations_per_env_step(env)}
        results.add(
            topic, "bare loop / matrix-product rate", f"{rate / peak:.0%} of {peak / 1e9:,.0f} Gflop/s", ">= 60%"
        )


def ppo(settings: Settings, results: Results) -> None:
    """The default recipe's 64 episodes: environment alone, with a policy collecting, and with learning."""
    env = make_env("tidal-tiny", 64, settings.dtype, settings.device)
    speeds = results.compare(
        "PPO, N = 64",
        {
            "vector env": vector_env(env, 50),
            "collecting": collecting(make_env("tidal-tiny", 64, settings.dtype, settings.device), 50),
            "full PPO": full_ppo("tidal-tiny", settings.dtype, settings.device, rollouts=2),
        },
        max(5, settings.repeats // 2),
        "env steps",
    )
    for name, goal in (("collecting", ""), ("full PPO", ">= 60%")):
        results.add("PPO, N = 64", f"{name} / vector env", f"{ratio(speeds, name, 'vector env'):.0%}", goal)


def peers(settings: Settings, results: Results) -> None:
    """Compares with the textbook environment on two models, and with transformers' `generate`."""
    large = random_bundle(settings.folder / "tidal-30m", "tidal-30m")
    for model, name, goal in (("tidal-tiny", "tidal-tiny", ">= 15x"), (large, "tidal-30m, random", ">= 40x")):
        sizes = {f"vector env, N = {num_envs}": num_envs for num_envs in (64, 256)}
        contenders = {
            size: vector_env(make_env(model, num_envs, settings.dtype, settings.device), 50)
            for size, num_envs in sizes.items()
        }
        contenders["textbook, alone"] = textbook(model, settings.dtype, 25)
        if model == "tidal-tiny":
            contenders |= {
                "textbook, DummyVecEnv of 8": textbook(model, settings.dtype, 4, DummyVecEnv, 8),
                "textbook, SubprocVecEnv of 2": textbook(model, settings.dtype, 25, SubprocVecEnv, 2),
            }
        speeds = results.compare(f"textbook, {name}", contenders, 3, "env steps")
        for size in sizes:
            for rival in list(contenders)[len(sizes) :]:
                times = ratio(speeds, size, rival)
                results.add(f"textbook, {name}", f"{size} / {rival}", f"{times:.0f}x", goal)
    for num_rows in (64, 256):
        env = make_env("tidal-tiny", num_rows, settings.dtype, settings.device)
        rivals = {
            f"generate, {dtype}": transformers_generate("tidal-tiny", dtype, settings.device, num_rows, 50)
            for dtype in dict.fromkeys(("float32", settings.dtype))
        }
        topic = f"generate, N = {num_rows}"
        repeats = max(3, settings.repeats // 3)
        speeds = results.compare(topic, {"vector env": vector_env(env, 50), **rivals}, repeats, "tokens")
        fastest = max(rivals, key=lambda name: speeds[name].median)
        times = ratio(speeds, "vector env", fastest)
        results.add(topic, f"vector env (two streams) / {fastest}", f"{times:.2f}x", ">= 1.5x")


def pretraining(settings: Settings, results: Results) -> None:
    """Training tokens per second under the same Trainer, with control codes for the gated transformer."""
    text, cache = lm_runs.write_text(settings.folder / "text.txt"), settings.folder / "cache"
    families = {"tidal pretrain, gated": "gated", "tidal pretrain, GPT-2": "gpt2"}
    contenders = {name: lm_runs.pretraining(family, text, cache, 12) for name, family in families.items()}
    speeds = results.compare("pretraining", contenders, 3, "tokens")
    ours, theirs = contenders
    results.add("pretraining", "gated / GPT-2", f"{ratio(speeds, ours, theirs):.2f}x", ">= 1x")
    parameters = sum(p.numel() for p in make_env("tidal-tiny", 1, "float32", "cpu").bundle.model.parameters())
    rate = speeds[ours].median * lm_runs.flops_per_token(parameters)
    dtype = torch.bfloat16 if has_fast_bfloat16(settings.device) else torch.float32
    peak = matrix_rate(dtype, settings.device)
    results.add("pretraining", "gated / matrix-product rate", f"{rate / peak:.0%} of {peak / 1e9:,.0f} Gflop/s")


def growth(settings: Settings, results: Results) -> None:
    """Time per step with the number of episodes, their length, and the steps already taken; memory; load time."""
    times: dict[str, float] = {}
    for num_envs in (1, 4, 16, 64, 256, 1024):
        env = make_env("tidal-tiny", num_envs, settings.dtype, settings.device)
        steps = 50 if num_envs <= 256 else 15
        speed = measure({"env": vector_env(env, steps)}, 3)["env"]
        times[f"N = {num_envs}"] = 1e3 * num_envs / speed.median
        del env
        gc.collect()
    for length in (25, 50, 100, 200):
        env = make_env("tidal-tiny", 64, settings.dtype, settings.device, length)
        speed = measure({"env": vector_env(env, length)}, 3)["env"]
        times[f"N = 64, episodes of {length}"] = 1e3 * 64 / speed.median
    env = make_env("tidal-tiny", 64, settings.dtype, settings.device)
    env.reset(seed=0)
    generator = np.random.default_rng(0)
    blocks = []
    for _ in range(20):
        start = time.perf_counter()
        for action in generator.random((50, 64, 3)):
            env.step(action)
        blocks.append(1e3 * (time.perf_counter() - start) / 50)
    times["N = 64, steps 50 to 300"] = float(np.median(blocks[1:6]))
    times["N = 64, steps 750 to 1,000"] = float(np.median(blocks[-5:]))
    results.figures["growth"] = times
    for name, milliseconds in times.items():
        results.add("time of a step", name, f"{milliseconds:.2f} ms")
    results.add("time of a step", "N = 1,024 / N = 64", f"{times['N = 1024'] / times['N = 64']:.1f}x", "<= 16x")
    results.add("load", "gymnasium.make_vec, new process", f"{_load_seconds():.1f} s")
    for num_envs in (64, 1024):
        results.add("memory", f"per environment, N = {num_envs}", f"{_memory_of(num_envs, settings) / 1e6:.2f} MB")


def _load_seconds() -> float:
    program = "import gymnasium, tidal_gym; gymnasium.make_vec('TidalGating-v0', num_envs=64).reset(seed=0)"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def _memory_of(num_envs: int, settings: Settings) -> float:
    """Increase of the process's memory by an environment of N rows, per row [bytes]."""
    program = f"""
import resource
from benchmarks.speed.decoding_contenders import make_env, vector_env
def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize()
vector_env(make_env("tidal-tiny", 1, {settings.dtype!r}, "cpu"), 3)()
before = resident()
env = make_env("tidal-tiny", {num_envs}, {settings.dtype!r}, "cpu")
vector_env(env, 3)()
print((resident() - before) / {num_envs})
"""
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return float(output.splitlines()[-1])


TOPICS: dict[str, Callable[[Settings, Results], None]] = {
    "decoding": decoding,
    "ppo": ppo,
    "peers": peers,
    "pretraining": pretraining,
    "growth": growth,
}


def main() -> None:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TOPICS, default=list(TOPICS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--num_envs", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    dtype = arguments.dtype
    if dtype == "auto":
        dtype = "bfloat16" if has_fast_bfloat16(arguments.device) else "float32"
    results = Results()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(arguments.device, dtype, arguments.num_envs, arguments.repeats, Path(folder))
        for topic in arguments.only:
            TOPICS[topic](settings, results)
    table = Table("topic", "what", "measured", "goal")
    for row in results.rows:
        table.add_row(*row.values())
    Console().print(table)
    content = {"dtype": dtype, "threads": torch.get_num_threads(), "table": results.rows, "figures": results.figures}
    parts = [] if arguments.only == list(TOPICS) else arguments.only
    print(write_result("-".join(["speed/speed", torch.device(arguments.device).type, *parts]), content))


if __name__ == "__main__":
    main()
