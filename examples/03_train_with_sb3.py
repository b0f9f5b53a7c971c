"""Train a controller with plain Stable-Baselines3.

You learn that SB3 needs only two classes: `VectorEnvToSB3`, which adapts the vector environment to a VecEnv, and
`BetaPolicy`, whose actions lie within the box. `agents.train` does the same with checkpoints and a controller
folder.
"""

import gymnasium
from jsonargparse import auto_cli
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import tidal_gym  # noqa: F401 - registers TidalGating-v0
from agents import BetaPolicy, VectorEnvToSB3


def main(model: str = "tidal-tiny", steps: int = 100_000, envs: int = 64) -> None:
    """Train for some steps (tokens), and evaluate on held-out openings before and after."""

    def make(prompts: str) -> VecMonitor:
        batch = {"model": model, "prompts": prompts, "autoreset_mode": "SameStep"}
        return VecMonitor(VectorEnvToSB3(gymnasium.make_vec("TidalGating-v0", num_envs=envs, **batch)))

    train = VecNormalize(make("train"), gamma=0.3)
    heldout = VecNormalize(make("heldout"), training=False, norm_reward=False)
    heldout.obs_rms = train.obs_rms  # observations are scaled as in training
    recipe = {"batch_size": envs * 25 // 4, "n_epochs": 10, "learning_rate": 1e-3, "gamma": 0.3, "gae_lambda": 0.9}
    policy = {"net_arch": [128, 128]}
    ppo = PPO(BetaPolicy, train, n_steps=25, **recipe, policy_kwargs=policy, seed=0, device="cpu", verbose=1)

    before, _ = evaluate_policy(ppo, heldout, n_eval_episodes=2 * envs)
    ppo.learn(steps, log_interval=10)
    after, _ = evaluate_policy(ppo, heldout, n_eval_episodes=2 * envs)
    print(f"Mean return on held-out openings: untrained {before:.2f}, trained {after:.2f}")


if __name__ == "__main__":
    auto_cli(main)
