"""Train controllers on four rewards, and compare their texts.

You learn how rewards shape texts: `tidal` rewards likely, varied text at human entropy; `carl` replaces it by the
coherence of the whole episode (`tidal_gym.CarlReward`); `mixed` adds the two; and `judge-free` only has the terms that
need no language model, repetition and frequent bigrams.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from agents import EnvConfig, Neutral, PPOConfig, TrainConfig, evaluate, train
from agents.evaluation.evaluation import Evaluation
from tidal_gym import CarlRewardConfig

JUDGE_FREE = {"perplexity": 0.0, "diversity": 0.0, "repetition": 0.5, "coherence": 0.5}

REWARDS = {
    "tidal": EnvConfig(),
    "carl": EnvConfig(carl=CarlRewardConfig(mode="replace", weight=10.0)),
    "mixed": EnvConfig(carl=CarlRewardConfig(mode="add", weight=10.0)),
    "judge-free": EnvConfig(reward_weights=JUDGE_FREE),
}
"""Rewards by name. An episode's coherence lies in [0, 1]; the weight 10 makes it comparable to the tidal reward."""

MEASURED = EnvConfig(carl=CarlRewardConfig())
"""Environment of the comparison, which measures both rewards."""


def compare(steps: int, episodes: int, seed: int = 0, num_envs: int = 64) -> dict[str, Evaluation]:
    """Train a controller on each reward, and evaluate all on the same held-out openings."""
    agents: dict = {"neutral": Neutral()}
    ppo = PPOConfig(num_envs=num_envs, rollout_steps=25, batch_size=num_envs * 25 // 4)
    with TemporaryDirectory() as folder:
        for name, env in REWARDS.items():
            config = TrainConfig(env, ppo, total_steps=steps, seed=seed)
            agents[name] = train(config, Path(folder) / name)
    return {
        name: evaluate(
            agent, MEASURED, prompts="heldout", episodes=episodes, num_envs=min(num_envs, episodes), seed=seed
        )
        for name, agent in agents.items()
    }


def table_of(results: dict[str, Evaluation]) -> Table:
    """Table of text statistics with a row for each agent."""
    varied = ("distinct-1 per text", "distinct-2 per text", "repeated 4-grams")
    table = Table("trained on", "CARL", *varied, "perplexity", "gates")
    for name, result in results.items():
        text, gates = result.text, "  ".join(f"{gate.mean:.2f} ± {gate.std:.2f}" for gate in result.gates.values())
        table.add_row(
            name, f"{result.term_sums['carl']:.3f}",
            f"{text.distinct_1_per_text:.3f}", f"{text.distinct_2_per_text:.3f}", f"{text.repetition_4:.3f}",
            f"{result.perplexity:.2f}", gates,
        )  # fmt: skip
    return table


def main(steps: int = 100_000, episodes: int = 256, seed: int = 0, num_envs: int = 64) -> None:
    """Train the controllers, and print the comparison with a sample of each.

    Args:
        steps: tokens to train each controller for.
        episodes: held-out episodes to compare them on.
        seed: of training and evaluation.
        num_envs: number of parallel episodes, a multiple of 4.
    """
    results = compare(steps, episodes, seed, num_envs)
    Console(width=120).print(table_of(results))
    for name, result in results.items():
        print(f"\n{name}: {result.samples[0].text!r}")


if __name__ == "__main__":
    auto_cli(main)
