"""Effects of the gate signals on generated text, with neutral temperature, penalty and attention.

Sweeps creativity and stability over five settings each, the other gates neutral, and reports the mean unigram
surprisal [nats] and distinct-1 of the text, with Spearman's rank correlation between setting and mean.

    python benchmarks/models/gate_effects.py --samples 256
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import spearmanr

from agents import EnvConfig
from agents.baselines.baselines import Fixed
from agents.episodes.episodes import episode_seed, run_episodes
from benchmarks.results_file import write_result

SETTINGS = (0.0, 0.25, 0.5, 0.75, 1.0)


def sweep(env: EnvConfig, gate: int, samples: int, seed: int) -> list[dict[str, float]]:
    """Mean and standard error of both statistics at each setting of a gate, with equal prompts and random numbers."""
    vector_env = env.make(64)
    surprisal = -vector_env.bundle.statistics.unigram_log_prob().numpy()
    rows = []
    for setting in SETTINGS:
        gates = [0.5, 0.0, 0.0]
        gates[gate] = setting
        values = []
        for first in range(0, samples, 64):
            episodes = run_episodes(Fixed(gates), vector_env, [episode_seed(seed, first + row) for row in range(64)])
            for tokens, length in zip(episodes.tokens, episodes.lengths, strict=True):
                text = tokens[:length]
                values.append((surprisal[text].mean(), len(set(text.tolist())) / length))
        means, errors = np.mean(values, axis=0), np.std(values, axis=0) / np.sqrt(len(values))
        rows.append(
            {
                "setting": setting,
                "unigram_surprisal": float(means[0]),
                "unigram_surprisal_standard_error": float(errors[0]),
                "distinct_1_per_text": float(means[1]),
                "distinct_1_per_text_standard_error": float(errors[1]),
            }
        )
    vector_env.close()
    return rows


def main() -> None:
    """Sweeps the gates, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tidal-tiny")
    parser.add_argument("--samples", type=int, default=256, help="generations per setting, a multiple of 64")
    parser.add_argument("--tokens", type=int, default=50, help="length of a generation [tokens]")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    plain = {"temperature_range": (1.0, 1.0), "penalty_range": (1.0, 1.0), "focus_strength": 0.0, "top_k": 1 << 20}
    env = EnvConfig(model=arguments.model, prompts="heldout", modulation=plain, max_episode_steps=arguments.tokens)
    result = {"samples": arguments.samples, "tokens": arguments.tokens, "seed": arguments.seed}
    for name, gate, statistic in (("creativity", 0, "unigram_surprisal"), ("stability", 2, "distinct_1_per_text")):
        rows = sweep(env, gate, arguments.samples, arguments.seed)
        correlation = float(spearmanr(SETTINGS, [row[statistic] for row in rows]).statistic)
        result[name] = {"statistic": statistic, "spearman": correlation, "settings": rows}
        means = "  ".join(f"{row[statistic]:.4f} ± {row[f'{statistic}_standard_error']:.4f}" for row in rows)
        print(f"{name:>10} 0 → 1, {statistic}: {means}  (Spearman {correlation:.2f})")
    print(write_result("models/gate_effects", result))


if __name__ == "__main__":
    main()
