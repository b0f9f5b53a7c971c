"""Write an agent, and compare it with another on the same episodes.

You learn that an agent is a class with `act(observations) -> gates`, for a whole batch at once, and that `evaluate`
gives all agents the same openings and the same random numbers, so that paired differences have much smaller intervals
than returns.
"""

import numpy as np
from gymnasium.vector import VectorEnv
from jsonargparse import auto_cli
from numpy.typing import NDArray

from agents import Agent, EnvConfig, Neutral, evaluate, paired_difference


class RandomGates(Agent):
    """Agent with new uniform gates in [0, 1] at each token."""

    name = "random"

    def start(self, vector_env: VectorEnv, seed: int) -> None:
        """Called before the episodes begin."""
        self.generator = np.random.default_rng(seed)

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gates (N, 3) for observations (N, 64)."""
        return self.generator.random((len(observations), 3), dtype=np.float32)


def main(model: str = "tidal-tiny", episodes: int = 128, seed: int = 0) -> None:
    """Compare random gates with plain sampling on held-out openings.

    Args:
        model: a bundled name, a folder or a hub id.
        episodes: number of episodes of each agent.
        seed: seed of the episodes.
    """
    env = EnvConfig(model=model)
    random = evaluate(RandomGates(), env, episodes=episodes, seed=seed)
    neutral = evaluate(Neutral(), env, episodes=episodes, seed=seed)
    for result in (random, neutral):
        print(f"{result.agent:<8} return {result.mean_return}   perplexity {result.perplexity:.1f}")
        print(f"         {result.samples[0].text!r}")
    print(f"random - neutral, episode by episode: {paired_difference(random, neutral)}")


if __name__ == "__main__":
    auto_cli(main)
