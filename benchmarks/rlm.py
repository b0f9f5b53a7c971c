"""Benchmarks of random grammars: exactness, speed, and excess of models and controllers over the optimum.

python benchmarks/rlm.py --part floors
python benchmarks/rlm.py --part speed
python benchmarks/rlm.py --part classic --grammars 0 1 2
python benchmarks/rlm.py --part best --grammars 0 1 2 3 4
python benchmarks/rlm.py --part deep --grammars 0 1 2
python benchmarks/rlm.py --part controllers --seeds 0 1 2 3 4 5 6 7 8 9
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import random
import statistics
import time
from bisect import bisect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging

from agents import Neutral, OneStepOracle, Random, TrainConfig, evaluate, train, tune
from agents.episodes.agent import Agent
from agents.evaluation.evaluation import Evaluation
from agents.evaluation.intervals import bootstrap_mean
from benchmarks.results_file import write_result
from lm.rlm.config import RLMConfig
from lm.rlm.grammar import RandomGrammar
from lm.rlm.statistics import sentence_entropy
from lm.rlm.training import train_on_grammar
from tidal.cli.commands.rlm import train_parser
from tidal.cli.commands.train import make_parser as controller_parser
from tidal.cli.parsing import config_of

KNOWN_FLOORS = {(128, 1, 2.0): 2.899, (64, 1, 2.0): 2.545, (64, 1, 1.0): 3.964, (64, 2, 2.0): 1.64, (64, 3, 2.0): 1.28,
                (128, 2, 2.0): 1.90}  # fmt: skip
"""Entropy of the last token [nats] as reported elsewhere, by (v, L, β)."""


def floors(arguments: argparse.Namespace) -> dict[str, Any]:
    """Entropy of the last token over many grammars."""
    rows = []
    for (v, depth, beta), known in KNOWN_FLOORS.items():
        values = [
            sentence_entropy(RandomGrammar(v, depth, beta, seed), samples=2048).last.value
            for seed in range(arguments.floors_of)
        ]
        spread = statistics.stdev(values)
        rows.append({"v": v, "depth": depth, "beta": beta, "known": known, "mean": statistics.fmean(values),
                     "standard_deviation": spread, "standard_error": spread / math.sqrt(len(values))})  # fmt: skip
        print(rows[-1], flush=True)
    return {"grammars": arguments.floors_of, "rows": rows}


def plain_sampler(grammar: RandomGrammar, *, prepared: bool) -> Callable[[int], list[list[int]]]:
    """Samples sentences in plain Python, node by node: from weights, or by search in cumulative weights."""
    v, depth = grammar.vocab_size, grammar.depth
    weights = grammar.rules.view(v, v * v).tolist()
    cumulative = [list(itertools.accumulate(row)) for row in weights]
    places = range(v * v)

    def draw(parent: int) -> int:
        if prepared:
            return min(bisect(cumulative[parent], random.random() * cumulative[parent][-1]), v * v - 1)
        return random.choices(places, weights[parent])[0]

    def sample(count: int) -> list[list[int]]:
        sentences = []
        for _ in range(count):
            symbols = [random.randrange(v)]
            for _ in range(depth):
                pairs = [draw(symbol) for symbol in symbols]
                symbols = [child for pair in pairs for child in (pair // v, pair % v)]
            sentences.append(symbols)
        return sentences

    return sample


def rate(action: Callable[[], Any], count: int, repeats: int = 5) -> float:
    """Sentences per second: median of several repeats after a warm-up."""
    action()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return count / statistics.median(seconds)


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Speed of sampling, compared with plain Python, and of exact posteriors."""
    grammar = RandomGrammar(128, 3, 2.0, 0)
    generator = grammar.new_generator(0)
    result: dict[str, Any] = {"threads": torch.get_num_threads()}
    for count in (1000, 10_000, 100_000):
        result[f"sampling, v 128, L 3, batches of {count}"] = rate(lambda n=count: grammar.sample(n, generator), count)
    weights, prepared = plain_sampler(grammar, prepared=False), plain_sampler(grammar, prepared=True)
    result["plain Python, weights"] = rate(lambda: weights(50), 50)
    result["plain Python, cumulative weights prepared"] = rate(lambda: prepared(5000), 5000)
    fastest = result["sampling, v 128, L 3, batches of 100000"]
    result["times plain Python"] = fastest / result["plain Python, weights"]
    result["times plain Python, prepared"] = fastest / result["plain Python, cumulative weights prepared"]
    for dtype in (torch.float64, torch.float32):
        small = RandomGrammar(64, 3, 2.0, 0, dtype=dtype)
        tokens = small.sample(2000)
        name = f"exact posteriors at all places, v 64, L 3, {dtype}"
        result[name] = rate(lambda s=small, t=tokens: s.next_token_posterior(t), 2000)
    for name, value in result.items():
        print(f"{name}: {value:,.0f}", flush=True)
    return result


def preset(name: str) -> RLMConfig:
    """A preset of `tidal rlm train`."""
    words = ["--config", f"configs/rlm/{name}.yaml", "--output", "unused"]
    parser = train_parser()
    return config_of(parser, parser.parse_args(words), RLMConfig)


def models(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains a preset on several grammars."""
    config = preset({"classic": "classic", "best": "best", "deep": "best-deep"}[arguments.part])
    rows = []
    for seed in arguments.grammars:
        start = time.perf_counter()
        run = dataclasses.replace(config, grammar=dataclasses.replace(config.grammar, seed=seed))
        folder = Path(arguments.output) / f"{arguments.part}-{seed}"
        outcome = train_on_grammar(run, folder, resume=folder.exists())
        test, limits = outcome.final.test, outcome.floors
        last = test.excess_by_position[-1]
        room = limits.uniform - limits.optimum
        rows.append({"grammar": seed, "excess": test.excess, "excess_of_best": outcome.best.test.excess,
                     "excess_at_last_place": last, "share_of_room": test.excess / room,
                     "excess_by_position": test.excess_by_position, "loss": test.loss,
                     "floors": dataclasses.asdict(limits), "parameters": outcome.num_parameters,
                     "seconds_of_this_call": round(time.perf_counter() - start)})  # fmt: skip
        if arguments.part == "deep":
            floor = sentence_entropy(run.grammar.make(), samples=2048).last.value
            rows[-1]["share_of_room_at_last_place"] = last / (limits.uniform - floor)
        print({name: value for name, value in rows[-1].items() if name != "floors"}, flush=True)
    excesses = [row["excess"] for row in rows]
    return {"config": dataclasses.asdict(config), "mean_excess": statistics.fmean(excesses), "runs": rows}


def controllers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares controllers on TidalRLM-v0 with the best static setting, tuned with the same number of steps."""
    parser = controller_parser()
    words = ["--config", "configs/ppo/rlm-tiny.yaml", "--output", "unused"]
    config = config_of(parser, parser.parse_args(words), TrainConfig)

    def measure(agent: Agent) -> Evaluation:
        return evaluate(agent, config.env, episodes=arguments.episodes, seed=1, num_envs=256)

    tuning = tune("static", config.env, env_steps=config.total_steps, num_envs=256)
    result: dict[str, Any] = {"config": dataclasses.asdict(config), "tuning": tuning.to_json()}
    others = {"random": Random(), "neutral": Neutral(), "best static": tuning.agent(), "oracle": OneStepOracle()}
    for name, agent in others.items():
        result[name] = dataclasses.asdict(measure(agent).mean_return)
        print(name, result[name], flush=True)
    returns, rows = [], []
    for seed in arguments.seeds:
        start = time.perf_counter()
        folder = Path(arguments.output) / f"controller-{seed}"
        controller = train(dataclasses.replace(config, seed=seed), folder, resume=folder.exists())
        learned = measure(controller)
        returns.append(learned.mean_return.mean)
        rows.append({"seed": seed, "mean_return": dataclasses.asdict(learned.mean_return),
                     "gates": {name: (gate.mean, gate.std) for name, gate in learned.gates.items()},
                     "seconds": round(time.perf_counter() - start)})  # fmt: skip
        print(rows[-1], flush=True)
    across = bootstrap_mean(np.array(returns))
    print("over seeds", across, flush=True)
    return result | {"controllers": rows, "over_seeds": dataclasses.asdict(across)}


PARTS = {
    "floors": floors,
    "speed": speed,
    "classic": models,
    "best": models,
    "deep": models,
    "controllers": controllers,
}


def main() -> None:
    """Runs one part and writes its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--grammars", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds, for the models")
    parser.add_argument("--floors_of", type=int, default=32, help="grammars that floors are a mean of")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)), help="of the controllers")
    parser.add_argument("--episodes", type=int, default=2048, help="held-out episodes of each agent")
    parser.add_argument("--output", default="runs/rlm")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    print(write_result(f"rlm/{arguments.part}", PARTS[arguments.part](arguments)))


if __name__ == "__main__":
    main()
