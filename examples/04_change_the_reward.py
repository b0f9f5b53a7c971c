"""Change the reward: with a wrapper, or with a registered reward.

You learn the difference. A wrapper can use the history, such as the gates of two steps. A registered reward scores all
tokens of the sampling distribution, so that its expectation under an action is exact; training presets, evaluation and
the one-step oracle select it by name.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from jsonargparse import auto_cli

import tidal_gym
from tidal_gym.rewards.rewards import Outcome, RewardReference, RewardTerms, repetition_term


class SteadyGates(gymnasium.Wrapper):
    """Wrapper that subtracts `weight` times the mean change of the gates from each reward."""

    def __init__(self, env: gymnasium.Env, weight: float = 0.5) -> None:
        super().__init__(env)
        self.weight = weight

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begins with the neutral gates."""
        self.gates = self.unwrapped.neutral_action
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Adds the term to reward and info."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        info["reward_steadiness"] = -float(np.abs(action - self.gates).mean())
        self.gates = np.asarray(action)
        return observation, reward + self.weight * info["reward_steadiness"], terminated, truncated, info


@tidal_gym.register_reward("human_surprisal")
class HumanSurprisal:
    """Reward for tokens with a surprisal near that of human text that do not occur among the recent tokens.

    `environment.reward` may also be "my_module:HumanSurprisal", which needs no registration and no decorator.
    """

    def __init__(self, reference: RewardReference, weights: Mapping[str, float] | None = None) -> None:
        self.target = reference.statistics.human_entropy  # a text's mean surprisal is about its mean entropy
        self.weights = {"surprisal": 1.0, "repetition": 0.5, **(weights or {})}

    def __call__(self, outcome: Outcome) -> RewardTerms:
        """Terms and total (N, K) of K candidate tokens for each of N rows."""
        terms = {
            "surprisal": -(-outcome.log_prob - self.target).abs() / self.target,
            "repetition": repetition_term(outcome.tokens, outcome.newest, outcome.recent).to(outcome.log_prob.dtype),
        }
        return RewardTerms(terms, sum(self.weights[name] * term for name, term in terms.items()))


def main(model: str = "tidal-tiny", tokens: int = 40, seed: int = 0) -> None:
    """Play an episode of random gates under the wrapper, then look at the own reward's expectations.

    Args:
        model: a bundled name, a folder or a hub id.
        tokens: most tokens to draw.
        seed: of the episode and of the gates.
    """
    env = SteadyGates(gymnasium.make("TidalGating-v0", model=model, max_episode_steps=tokens))
    env.reset(seed=seed)
    env.action_space.seed(seed)
    steadiness, is_over = [], False
    while not is_over:
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        steadiness.append(info["reward_steadiness"])
        is_over = terminated or truncated
    print(f"Random gates cost {-env.weight * np.mean(steadiness):.2f} a token in steadiness.")
    env.close()

    env = gymnasium.make("TidalGating-v0", model=model, reward="human_surprisal", reward_weights={"repetition": 0.2})
    env.reset(seed=seed)
    creativity = np.linspace(0.0, 1.0, 5)
    actions = np.column_stack((creativity, np.zeros((5, 2))))
    print("Expected reward of the first token, exact, by creativity:")
    for value, expected in zip(creativity, env.unwrapped.expected_rewards(actions), strict=True):
        print(f"  {value:.2f}  {expected:6.3f}")
    env.close()


if __name__ == "__main__":
    auto_cli(main)
