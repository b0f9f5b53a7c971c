"""Benchmarks of CARL: cost of the scores, their discrimination of texts, and training with them.

python benchmarks/carl.py --part speed
python benchmarks/carl.py --part separation --valid path/to/valid.txt
python benchmarks/carl.py --part grpo --seeds 0 1 2
python benchmarks/carl.py --part agent
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.evaluation.text_statistics import text_statistics
from benchmarks.results_file import write_result
from lm.carl.agent import agent_step
from lm.carl.reward import carl_reward
from lm.carl.training.config import CarlDataConfig, CarlTrainConfig, PolicyConfig
from lm.carl.training.run import train
from lm.carl.training.task_words import WordTask
from lm.data.documents import read_documents
from lm.evaluation.scoring import score_tokens
from lm.model_names import resolve
from lm.models.bundle import load_bundle, load_model
from tidal_gym.envs.text.prompts import read_openings

# Speed


def _plain_entropy(logits: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs = weights / weights.sum(axis=-1, keepdims=True)
    return probs, -(probs * np.log(probs + 1e-10)).sum(axis=-1)


def plain_reward(logits: NDArray[np.floating], token_ids: NDArray[np.integer], *, by_token: bool = False) -> float:
    """The published score of one completion in NumPy, with batched predictions or a loop over tokens."""
    if by_token:
        tokens = [_plain_entropy(logits[place : place + 1]) for place in range(len(logits))]
        probs, entropy = (np.concatenate(parts) for parts in zip(*tokens, strict=True))
    else:
        probs, entropy = _plain_entropy(logits)
    phi = 1.0 - entropy / math.log(logits.shape[1])
    weighted = total = 0.0
    for scale in range(int(math.log2(len(phi))) + 1):
        size = 1 << scale
        blocks = phi[: len(phi) // size * size].reshape(-1, size)
        weighted += 2 ** (scale / 2) * min(max(1.0 - float(blocks.std(axis=1).mean()), 0.0), 1.0)
        total += 2 ** (scale / 2)
    cloud = float((probs[np.arange(len(phi)), token_ids] * phi).mean())
    worths = []
    for before, after in itertools.pairwise(phi.tolist()):
        if after - before > 0.03:
            worths.append(0.8 if before < 0.5 else 0.3)
        elif after - before < -0.03:
            worths.append(0.2 if before > 0.7 else 0.5)
    discontinuity = sum(worths) / len(worths) if worths else 0.5
    return 0.5 * weighted / total + 0.3 * cloud + 0.2 * discontinuity


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the batched scores with plain loops, in turns, so that noise affects all equally; measures memory."""
    torch.set_num_threads(arguments.threads)
    logits, ids = _random_batch(arguments.shape)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(arguments.repeats):
        for name, contender in CONTENDERS.items():
            contender(logits, ids)  # wakes the threads
            runs = []
            for _ in range(3):
                start = time.perf_counter()
                contender(logits, ids)
                runs.append(time.perf_counter() - start)
            seconds[name].append(float(np.median(runs)))
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    ratios = {
        f"{plain} over {name}": float(np.median(np.divide(seconds[plain], seconds[name])))
        for plain, name in itertools.product(("loop over tokens", "loop over completions"), ("published", "corrected"))
    }
    script = [sys.executable, __file__, "--part", "memory", "--shape", *map(str, arguments.shape)]
    used = json.loads(subprocess.run(script, capture_output=True, text=True, check=True).stdout)
    print({name: f"{1e3 * value:.1f} ms" for name, value in median.items()}, ratios, used)
    fixed = {"shape": arguments.shape, "threads": arguments.threads}
    return {**fixed, "median_ratios": ratios, "median_seconds": median, "seconds": seconds, **used}


CONTENDERS: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "published": lambda logits, ids: carl_reward(logits, ids, alignment="paired"),
    "corrected": carl_reward,
    "loop over tokens": lambda logits, ids: [
        plain_reward(*row, by_token=True) for row in zip(logits.numpy(), ids.numpy(), strict=True)
    ],
    "loop over completions": lambda logits, ids: [
        plain_reward(*row) for row in zip(logits.numpy(), ids.numpy(), strict=True)
    ],
}


def memory(shape: Sequence[int]) -> dict[str, float]:
    """Increase of peak resident memory by logits and their scores, relative to the size of the logits (Linux)."""
    carl_reward(*_random_batch([1, 8, 64]))  # what the libraries take once
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before = _resident("VmRSS")
    logits, ids = _random_batch(shape)
    carl_reward(logits, ids)
    return {"peak_memory_over_logits": (_resident("VmHWM") - before) / (logits.numel() * logits.element_size())}


def _resident(field: str) -> int:
    """Peak resident memory [bytes]."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def _random_batch(shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(*shape, generator=generator).mul_(3.0)
    return logits, torch.randint(shape[2], tuple(shape[:2]), generator=generator)


# What the corrected reward tells apart


def separation(arguments: argparse.Namespace) -> dict[str, Any]:
    """Corrected and published reward of human text, of the model's text, and of noise, loops and copies."""
    bundle = load_bundle()
    tokenizer, prompt, length = bundle.tokenizer, 8, 60
    texts: dict[str, torch.Tensor] = {}
    stories = [tokenizer(text)["input_ids"] for text in read_documents(arguments.valid)] if arguments.valid else []
    if stories:
        texts["human: TinyStories, held out"] = torch.tensor([ids[:length] for ids in stories if len(ids) >= length])
    openings = [tokenizer(text)["input_ids"] for text in read_openings("heldout")]
    beginnings = torch.tensor([ids[:prompt] for ids in openings])
    generator = torch.Generator().manual_seed(0)
    room = (len(openings), length - prompt)

    def after_prompts(tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat((beginnings, tokens.expand(room)), dim=1)

    torch.manual_seed(0)
    for temperature in (0.5, 1.0, 1.5):
        texts[f"own text, temperature {temperature}"] = bundle.model.generate(
            beginnings, attention_mask=torch.ones_like(beginnings), do_sample=True, temperature=temperature, top_k=0,
            max_new_tokens=room[1], min_new_tokens=room[1],
        )  # fmt: skip
    texts["uniform noise"] = after_prompts(torch.randint(1, bundle.vocab_size, room, generator=generator))
    texts["one-token loops"] = after_prompts(torch.randint(1, bundle.vocab_size, (room[0], 1), generator=generator))
    texts["copies of one text"] = texts["own text, temperature 1.0"][:1].expand(room[0], -1)
    half = texts["own text, temperature 1.0"][:, :30]
    texts["copies of the prompt"] = torch.cat((half, half[:, 1:], half[:, :1]), dim=1)
    rows = {"human: openings, held out": _opening_scores(bundle, openings)}
    for name, ids in texts.items():
        start = 30 if name == "copies of the prompt" else prompt
        groups = torch.zeros(len(ids)) if name == "copies of one text" else torch.arange(len(ids))
        rows[name] = _scores(bundle, ids, (torch.arange(ids.shape[1]) >= start).expand(len(ids), -1), groups)
    for name, row in rows.items():
        print(f"{name:>32}", {key: f"{value['mean']:.3f} ± {value['std']:.3f}" for key, value in row.items()})
    return {"model": "tidal-tiny", "tokens": length, "prompt_tokens": prompt, "texts": rows}


def _opening_scores(bundle: Any, openings: list[list[int]]) -> dict[str, Any]:
    ids = torch.zeros(len(openings), max(map(len, openings)), dtype=torch.int64)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for row, opening in enumerate(openings):
        ids[row, : len(opening)] = torch.tensor(opening)
        mask[row, 4 : len(opening)] = True
    return _scores(bundle, ids, mask, torch.arange(len(ids)))


def _scores(bundle: Any, ids: torch.Tensor, mask: torch.Tensor, groups: torch.Tensor) -> dict[str, Any]:
    with torch.inference_mode():
        logits = bundle.model(input_ids=ids, use_cache=False).logits
    reward, components = carl_reward(logits, ids, mask=mask, groups=groups)
    kept = {"corrected": reward} | {name: components[name] for name in ("published", "information", "novelty")}
    return {
        name: {"mean": float(v.mean()), "std": float(v.std()), "min": float(v.min()), "max": float(v.max())}
        for name, v in kept.items()
    }


# Training with the reward


def grpo(arguments: argparse.Namespace) -> dict[str, Any]:
    """GRPO on a task with and without the corrected reward: task reward, diversity, groups without a gradient."""
    policy = PolicyConfig(
        steps=arguments.steps, prompts_per_step=4, num_generations=8, max_completion_tokens=40,
        learning_rate=arguments.learning_rate, task_words=arguments.words, scale_rewards=arguments.scale_rewards,
    )  # fmt: skip
    data = CarlDataConfig("tidal_gym/envs/text/openings/train.txt", by_line=True)
    config = CarlTrainConfig(data=data, grpo=policy, device="cpu", save_every=10_000)
    rows = [{"rewards": "before training", **_measure_policy(resolve("tidal-tiny"), arguments.words)}]
    print(rows[-1], flush=True)
    for seed in arguments.seeds:
        for weight in arguments.carl_weights:
            name = f"task and {weight:g} CARL" if weight else "task"
            run = replace(config, seed=seed, grpo=replace(policy, carl_weight=weight))
            folder = Path(arguments.output) / f"{name.replace(' ', '-')}-{seed}"
            start = time.perf_counter()
            result = train(run, folder, overwrite=True)
            log = (result.grpo or {})["log"]
            rows.append(
                {
                    "rewards": name,
                    "seed": seed,
                    "seconds": round(time.perf_counter() - start, 1),
                    "zero_gradient_groups": _flat_groups(log),
                    "task_while_training": [round(entry["rewards/task/mean"], 3) for entry in log],
                    **_measure_policy(str(result.model_folder), arguments.words),
                }
            )
            print({key: value for key, value in rows[-1].items() if key != "task_while_training"}, flush=True)
    return {"config": asdict(config), "runs": rows}


def _flat_groups(log: Sequence[dict[str, float]]) -> float:
    """Share of the groups whose completions all have equal rewards, over the run.

    With CARL rewards, completions have equal rewards only if their CARL scores are equal.
    """
    return float(np.mean([entry.get("carl/flat_groups", entry["task/flat_groups"]) for entry in log]))


def _measure_policy(folder: str, words: Sequence[str], samples: int = 3) -> dict[str, float]:
    """Evaluates a policy on held-out openings at temperature 1: task, distinct-2, loss of its text under tidal-tiny."""
    bundle, policy = load_bundle(), load_model(folder)
    prompts = torch.tensor([bundle.tokenizer(text)["input_ids"][:8] for text in read_openings("heldout")])
    prompts = prompts.repeat(samples, 1)
    torch.manual_seed(1)
    ids = policy.generate(
        prompts, attention_mask=torch.ones_like(prompts), do_sample=True, top_k=0, max_new_tokens=40, min_new_tokens=40
    )
    completions = ids[:, 8:].tolist()
    solved = WordTask(words)(bundle.tokenizer.batch_decode(completions))
    scores = score_tokens(bundle.model, ids.numpy(), context_length=bundle.context_length)
    statistics = text_statistics(completions)
    return {
        "task": float(np.mean(solved)),
        "distinct_2_per_text": statistics.distinct_2_per_text,
        "repetition_4": statistics.repetition_4,
        "judge_loss": float(np.mean([record.surprisal[7:].mean() for record in scores])),
    }


# Abstaining


def agent(arguments: argparse.Namespace) -> dict[str, Any]:
    """Evaluates abstention by mean Φ on held-out openings, with the losses of answers under two judges.

    The judges are a language model, which may be the answering model, and bigrams of the training text.
    """
    bundle = load_bundle()
    judge = load_model(resolve(arguments.judge))
    columns = ("phi", "judge_loss", "bigram_loss")

    def answers(openings: Sequence[str]) -> dict[str, NDArray[np.floating]]:
        rows = []
        for index, opening in enumerate(openings):
            prompt = bundle.tokenizer.decode(bundle.tokenizer(opening, add_special_tokens=False)["input_ids"][:8])
            step = agent_step(
                bundle.model, bundle.tokenizer, prompt, max_new_tokens=40, temperature=1.0, threshold=0.0, seed=index
            )
            ids = np.array([*bundle.tokenizer(prompt)["input_ids"], *step.token_ids])
            written = slice(-len(step.token_ids), None)
            (record,) = score_tokens(judge, [ids], context_length=judge.config.max_position_embeddings)
            text = torch.from_numpy(ids)
            bigrams = -bundle.statistics.bigram_log_prob(text[:-1], text[1:])[written]
            rows.append((step.components["phi_mean"], record.surprisal[written].mean(), float(bigrams.mean())))
        return dict(zip(columns, np.array(rows).T, strict=True))

    thresholds = [3 / 16, *np.quantile(answers(read_openings("train")[:100])["phi"], (0.25, 0.5, 0.75)).tolist()]
    found = answers(read_openings("heldout"))
    rows = []
    for threshold in thresholds:
        acts = found["phi"] >= threshold
        row: dict[str, Any] = {"threshold": threshold, "acted_on": int(acts.sum()), "abstained": int((~acts).sum())}
        for name in columns[1:]:
            for chosen, label in ((acts, "acted_on"), (~acts, "abstained")):
                row[f"{name}_{label}"] = float(found[name][chosen].mean()) if chosen.any() else None
        rows.append(row)
        print(row)
    correlations = {name: float(np.corrcoef(found["phi"], found[name])[0, 1]) for name in columns[1:]}
    print("correlation with mean Φ:", correlations)
    return {"judge": arguments.judge, "correlation_with_phi": correlations, "thresholds": rows}


def main() -> None:
    """Measures one part, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["speed", "memory", "separation", "grpo", "agent"], required=True)
    parser.add_argument("--shape", type=int, nargs=3, default=[64, 256, 4096], help="completions, tokens, words")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--valid", default=None, help="held-out stories, separated by a line <|endoftext|>")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--learning_rate", type=float, default=2e-4)
    parser.add_argument("--scale_rewards", choices=["group", "batch", "none"], default="none")
    parser.add_argument("--carl_weights", type=float, nargs="+", default=[0.0, 0.3], help="0 is the task alone")
    parser.add_argument("--words", nargs="+", default=["happy", "smiled"])
    parser.add_argument("--output", default="runs/carl-grpo")
    parser.add_argument("--judge", default="tidal-tiny", help="model that the agent's answers are judged by")
    parser.add_argument("--name", default=None, help="of the result file, instead of carl_PART")
    arguments = parser.parse_args()
    if arguments.part == "memory":  # in a process of its own, started by the speed part
        print(json.dumps(memory(arguments.shape)))
        return
    parts = {"speed": speed, "separation": separation, "grpo": grpo, "agent": agent}
    print(write_result(arguments.name or f"carl/{arguments.part}", parts[arguments.part](arguments)))


if __name__ == "__main__":
    main()
