"""Step the environment by hand: observations, actions and rewards.

You learn that an observation is 64 named numbers, an action three gates in [0, 1], that `info` contains the terms of
each reward, and that a seed fixes the opening and the random numbers, so that texts differ by the gates only.
"""

import gymnasium
from jsonargparse import auto_cli

import tidal_gym  # registers TidalGating-v0

SETTINGS = {
    "neutral: plain sampling": (0.5, 0.0, 0.0),
    "creativity 1: temperature 1.5": (1.0, 0.0, 0.0),
    "creativity 0, stability 1: temperature 0.5, no repeats": (0.0, 0.0, 1.0),
}


def main(model: str = "tidal-tiny", tokens: int = 40, seed: int = 7) -> None:
    """Generate the same story under three settings of the gates.

    Args:
        model: a bundled name, a folder or a hub id.
        tokens: maximum number of tokens to draw.
        seed: seed of the opening and of the sampling.
    """
    env = gymnasium.make("TidalGating-v0", model=model, max_episode_steps=tokens, render_mode="ansi")

    observation, info = env.reset(seed=seed)
    print("What the agent sees before the first token, in part:")
    for name, value in list(zip(tidal_gym.OBSERVATION_NAMES, observation, strict=True))[:10]:
        print(f"  {name:<48} {value:6.2f}")

    for name, gates in SETTINGS.items():
        observation, info = env.reset(seed=seed)
        earned: dict[str, float] = {}
        is_over = False
        while not is_over:
            observation, reward, terminated, truncated, info = env.step(gates)
            is_over = terminated or truncated
            terms = {key: value for key, value in info.items() if key.startswith("reward_")}
            for key, value in {"return": reward, **terms}.items():
                earned[key] = earned.get(key, 0.0) + value
        print(f"\n{name}\n{env.render()}" + ", ".join(f"{key} {value:.2f}" for key, value in earned.items()))
    env.close()


if __name__ == "__main__":
    auto_cli(main)
