"""Potential gain of each gate on the next token's reward, with the exact reward and with predicted rewards.

States are sampled with noisy static gates, and the exact expected reward of every action of a grid is computed in
each. On some of the states, networks learn to predict the difference of each action's reward from that of the best
constant action: from the 64 observations, or from these, the final hidden state and the 16 largest log-probabilities.
On the other states, the action with the highest mean prediction is evaluated. Without a gate, actions are limited to
those with the gate's value in the best constant action. The gain of networks of this size is a lower bound. Standard
errors are over the means of rows; a row is a series of episodes.

    python benchmarks/controllers/headroom.py --reward tidal --static 0.2957 0 0.0248
    python benchmarks/controllers/headroom.py --reward judge --static 0.2283 0.3804 0
"""

from __future__ import annotations

import argparse
import itertools
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents import EnvConfig
from benchmarks.results_file import write_result
from lm.models.gate_names import GATE_NAMES

LEVELS = {
    "creativity": (0.0, 0.12, 0.24, 0.36, 0.6, 1.0),
    "focus": (0.0, 0.6),
    "stability": (0.0, 0.05, 0.3),
}
SPREAD = (0.15, 0.3, 0.05)
"""Standard deviations of the noise on the static gates, in the order of the gates."""
NETWORKS, WIDTH, EPOCHS, MINIBATCH = 4, 256, 12, 256
ROWS = 64


class States(NamedTuple):
    """Observations, model features and exact rewards of A actions in S states."""

    observations: NDArray[np.float32]  # (S, 64)
    model: NDArray[np.float32]  # (S, D + 16)
    rewards: NDArray[np.float64]  # (S, A)


def main() -> None:
    """Samples states, trains the networks, evaluates their choices and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reward", default="tidal")
    parser.add_argument("--static", type=float, nargs=3, required=True, help="gates that lead to the states")
    parser.add_argument("--steps", type=int, default=400, help=f"of {ROWS} episodes side by side")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    grid = np.array(list(itertools.product(*LEVELS.values())), np.float32)  # (A, 3)
    known = ask(arguments.reward, np.array(arguments.static), grid, arguments.steps, arguments.seed)
    unseen = ask(arguments.reward, np.array(arguments.static), grid, arguments.steps // 4, arguments.seed + 1000)
    constant = int(known.rewards.mean(axis=0).argmax())
    everything = {"all gates": np.arange(len(grid))}
    for column, gate in enumerate(GATE_NAMES):
        everything[f"without {gate}"] = np.flatnonzero(grid[:, column] == grid[constant, column])

    def gained(choices: NDArray[np.int64]) -> dict[str, float]:
        places = np.arange(len(choices))
        more = 50 * (unseen.rewards[places, choices] - unseen.rewards[:, constant]).reshape(-1, ROWS).mean(axis=0)
        return {"mean": more.mean(), "standard_error": more.std(ddof=1) / ROWS**0.5}

    result = {
        "reward": arguments.reward,
        "states": [len(known.rewards), len(unseen.rewards)],
        "unit": "reward of 50 tokens, more than the best constant action earns in the same states",
        "best constant": dict(zip(GATE_NAMES, grid[constant].tolist(), strict=True)),
        "it earns": 50 * unseen.rewards[:, constant].mean(),
    }
    both = [np.concatenate((states.observations, states.model), axis=1) for states in (known, unseen)]
    predictions = {
        "exact reward": unseen.rewards,
        "observation": learn(known.observations, known.rewards, unseen.observations, constant),
        "observation, hidden state and log-probabilities": learn(both[0], known.rewards, both[1], constant),
    }
    for source, predicted in predictions.items():
        result[source] = {name: gained(kept[predicted[:, kept].argmax(axis=1)]) for name, kept in everything.items()}
        print(source, result[source], flush=True)
    print(write_result(f"controllers/headroom-{arguments.reward}", result))


def ask(reward: str, static: NDArray[np.float64], grid: NDArray[np.float32], steps: int, seed: int) -> States:
    """States on the training openings, with the exact expected reward of every action."""
    env = EnvConfig(reward=reward).make(ROWS)
    generator = np.random.default_rng(seed)
    observations, _ = env.reset(seed=seed)
    found = []
    for _ in range(steps):
        latest = env._generation.streams.latest
        log_probs = latest.logits.float().log_softmax(dim=1).topk(16).values
        model = torch.cat((latest.hidden.float(), log_probs), dim=1).numpy()
        found.append((observations.copy(), model, env.expected_rewards(grid)))
        gates = np.clip(static + generator.normal(0.0, SPREAD, (ROWS, 3)), 0.0, 1.0).astype(np.float32)
        observations = env.step(gates)[0]
    env.close()
    return States(*(np.concatenate(column) for column in zip(*found, strict=True)))


def learn(
    known: NDArray[np.float32], rewards: NDArray[np.float64], unseen: NDArray[np.float32], constant: int
) -> NDArray[np.float32]:
    """(S, A) mean predictions for unseen features (S, F) of networks trained on features with rewards (S', A)."""
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
    features, asked = (torch.as_tensor((values - mean) / deviation) for values in (known, unseen))
    more = rewards - rewards[:, [constant]]
    targets = torch.as_tensor(more / more.std(), dtype=torch.float32)
    expected = []
    for seed in range(NETWORKS):
        torch.manual_seed(seed)
        network = fitted(features, targets)
        with torch.no_grad():
            expected.append(network(asked).numpy())
    return np.mean(expected, axis=0)


def fitted(features: Tensor, targets: Tensor) -> nn.Module:
    """A network that maps features (S, F) to targets (S, A)."""
    layers = (nn.Linear(features.shape[1], WIDTH), nn.SiLU(), nn.Dropout(0.1), nn.Linear(WIDTH, WIDTH), nn.SiLU())
    network = nn.Sequential(*layers, nn.Linear(WIDTH, targets.shape[1]))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    minibatches = len(features) // MINIBATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=EPOCHS * minibatches)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(features))[: minibatches * MINIBATCH].split(MINIBATCH):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(features[rows]), targets[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


if __name__ == "__main__":
    main()
