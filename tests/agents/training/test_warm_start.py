import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from agents.episodes.env_config import EnvConfig
from agents.episodes.expected_reward import ExpectedReward
from agents.episodes.sb3_adapter import VectorEnvToSB3
from agents.policy.beta_policy import BetaPolicy
from agents.policy.controller import Controller
from agents.training.config import PPOConfig, TrainConfig, WarmStartConfig
from agents.training.learning_curve import LearningCurve, read_learning_curve
from agents.training.run import LinearLearningRate, train
from agents.training.warm_start.look_ahead import gae
from agents.training.warm_start.warm_start import WarmStart
from lm.errors import InvalidValueError
from tests.agents.toy_envs import ForkVectorEnv, ValleyVectorEnv
from tidal_gym.wrappers.carl_config import CarlRewardConfig

WARM = WarmStartConfig(env_steps=64, candidates=4, rollout_steps=4, gradient_steps=5, batch_size=16)


@pytest.fixture
def config(tiny_env: EnvConfig) -> TrainConfig:
    """Four rollouts of 16 steps, then two updates of 32."""
    ppo = PPOConfig(num_envs=4, rollout_steps=8, batch_size=16, epochs=2, hidden_sizes=(8,), reward="expected")
    return TrainConfig(env=tiny_env, ppo=ppo, warm_start=WARM, total_steps=128, checkpoint_every=64)


def test_finds_the_best_action_of_every_state(tmp_path: Path) -> None:
    """An environment whose expected rewards are a valley turned over: the best action is known in every state."""
    settings = WarmStartConfig(
        env_steps=3200, candidates=6, rollout_steps=10, gradient_steps=50, batch_size=64, entropy_coefficient=0.01
    )
    ppo, normalization = started(ValleyVectorEnv(32), settings, 0.0, tmp_path)
    assert ppo.num_timesteps == 3200
    assert len(read_learning_curve(tmp_path / "curve.jsonl")) == 10

    states = np.random.default_rng(1).uniform(-1, 1, (200, 2)).astype(np.float32)
    actions, _ = ppo.predict(normalization.normalize_obs(states), deterministic=True)
    errors = np.abs(actions - ValleyVectorEnv.best(states))
    assert errors.mean() < 0.06
    # The critic is on its way from what random actions earn, -0.7, to what the best ones do, 0.
    with torch.no_grad():
        values = ppo.policy.predict_values(torch.as_tensor(normalization.normalize_obs(states))).numpy()[:, 0]
    assert -0.4 < np.mean(values) * np.sqrt(normalization.ret_rms.var) < 0.1
    # Some of the policy's spread is left for PPO.
    assert 0.02 < ppo.policy.get_distribution(torch.as_tensor(states)).distribution.stddev.mean() < 0.3


def test_looks_ahead_where_it_is_asked_to(tmp_path: Path) -> None:
    """A fork: what costs a little at once leads to a state that pays, in some of the states."""
    wishes = np.linspace(-1, 1, 201)
    observations = np.stack((wishes, np.zeros(201), np.zeros(201)), axis=1).astype(np.float32)
    chosen = {}
    for look_ahead in (False, True):
        settings = WarmStartConfig(
            env_steps=23_040,
            candidates=6,
            rollout_steps=9,
            gradient_steps=50,
            batch_size=64,
            entropy_coefficient=0.003,
            look_ahead=look_ahead,
        )
        ppo, normalization = started(ForkVectorEnv(64), settings, 1.0, tmp_path)
        actions, _ = ppo.predict(normalization.normalize_obs(observations), deterministic=True)
        chosen[look_ahead] = actions[:, 0]
        if look_ahead:  # the critic knows what is still to come, and that nothing follows the end of an episode
            paying = normalization.normalize_obs(np.array([[0.8, 1 / 8, 1], [0.8, 1, 1], [-0.8, 1 / 8, 0]], np.float32))
            with torch.no_grad():
                values = ppo.policy.predict_values(torch.as_tensor(paying)).numpy()[:, 0]
            assert values * np.sqrt(normalization.ret_rms.var) == pytest.approx([0.8, 0.1, 0.0], abs=0.3)
    assert chosen[False].max() < 0.1
    assert chosen[True][wishes > 0.6].min() > 0.7
    assert chosen[True][wishes < -0.1].max() < 0.25


def test_advantages_by_hand() -> None:
    """Two rows of three steps, the first one's episode over after two."""
    advantages = gae(
        rewards=np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]),
        values=np.array([[0.5, 0.0], [1.0, 0.0], [0.0, 0.0]]),
        ahead=np.array([[1.0, 0.0], [9.0, 0.0], [2.0, 4.0]]),
        is_over=np.array([[False, False], [True, False], [False, False]]),
        gamma=0.5,
        gae_lambda=0.9,
    )
    # Row 0: 2 - 1 = 1, then 1 + 0.5 - 0.5 + 0.45 * 1. Row 1: 1 + 0.5 * 4 = 3, then 0.45 * 3, then 0.45 of that.
    np.testing.assert_allclose(advantages, [[1.45, 0.6075], [1.0, 1.35], [4.0, 3.0]])


def started(env: VectorEnv, settings: WarmStartConfig, gamma: float, folder: Path) -> tuple[PPO, VecNormalize]:
    """A PPO after its warm start."""
    normalization = VecNormalize(VecMonitor(VectorEnvToSB3(env)), gamma=gamma)
    ppo = PPO(BetaPolicy, normalization, gamma=gamma, seed=0, device="cpu", policy_kwargs={"net_arch": [32]})
    ppo.set_logger(Logger(None, []))
    curve = LearningCurve(folder / "curve.jsonl", settings.env_steps, 0.0)
    curve.init_callback(ppo)
    WarmStart(ppo, normalization, env, settings, 0, curve).run(lambda: None)
    return ppo, normalization


def test_comes_before_ppo_and_counts_its_steps(config: TrainConfig, tmp_path: Path) -> None:
    controller = train(config, tmp_path / "run")
    points = read_learning_curve(tmp_path / "run" / "learning_curve.jsonl")
    assert [point.step for point in points] == [16, 32, 48, 64, 96, 128]
    assert controller.metrics["step"] == 128
    saved = json.loads((tmp_path / "run" / "controller" / "controller.json").read_text())
    assert saved["training"]["warm_start"]["env_steps"] == 64
    assert Controller.load(tmp_path / "run").act(np.zeros((2, 64), np.float32)).shape == (2, 3)


def test_same_seed_same_policy(config: TrainConfig, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        controller = train(replace(config, total_steps=64, seed=seed), tmp_path / name)
        weights.append(torch.cat([tensor.flatten() for tensor in controller.policy.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_resumed_run_does_not_start_warm_again(config: TrainConfig, tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def listen(report) -> None:
        if report.done == 96:
            raise Stop

    with pytest.raises(Stop):
        train(config, tmp_path / "run", progress=listen)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["0000000064"]
    seen: list[int] = []
    train(config, tmp_path / "run", resume=True, progress=lambda report: seen.append(report.done))
    assert seen == [96, 128]


def test_learning_rate_falls_over_what_is_left() -> None:
    rate = LinearLearningRate(0.8, num_updates=4, share=0.5)
    assert [rate(left) for left in (0.375, 0.25, 0.125, 0.0)] == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_expected_rewards_are_learned_from_and_drawn_ones_are_shown(config: TrainConfig) -> None:
    env = config.env.make(3, expected_reward=True)
    adapter = VectorEnvToSB3(env)
    paid = ExpectedReward(VecMonitor(adapter), adapter)
    adapter.seed(0)
    paid.reset()
    generator = np.random.default_rng(0)
    expected_sums, sums = np.zeros(3), []
    for _ in range(20):
        actions = generator.random((3, 3), dtype=np.float32)
        expected = np.diag(env.expected_rewards(actions))
        _, rewards, dones, infos = paid.step(actions)
        np.testing.assert_allclose(rewards, expected, atol=1e-5)
        expected_sums += expected
        for row in np.flatnonzero(dones):
            sums.append((infos[row]["episode"]["r"], expected_sums[row]))
            expected_sums[row] = 0.0
    shown, expected_shown = np.array(sums).T
    assert len(shown) > 5
    assert (np.abs(shown - expected_shown) > 1e-3).all()  # the learning curve shows what the drawn tokens earned


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_steps": -1}, r"`warm_start\.env_steps` must be at least 0\. Received -1"),
        ({"candidates": 1}, r"`warm_start\.candidates` must be at least 2\. Received 1"),
        ({"gradient_steps": 0}, r"`warm_start\.gradient_steps` must be at least 1"),
        ({"entropy_coefficient": 0.0}, r"`warm_start\.entropy_coefficient` must be above 0 and at most"),
        ({"learning_rate": float("inf")}, r"`warm_start\.learning_rate` must be a finite number"),
    ],
)
def test_bad_settings_are_named(changes: dict, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        WarmStartConfig(**changes)


def test_what_does_not_go_together_is_named() -> None:
    with pytest.raises(InvalidValueError, match=r"`warm_start\.env_steps` must be at most `total_steps` \(10\)"):
        TrainConfig(total_steps=10, warm_start=WARM)
    with pytest.raises(InvalidValueError, match=r"must be 0 for a Gaussian policy"):
        TrainConfig(ppo=PPOConfig(policy="gaussian"), warm_start=WARM)
    with pytest.raises(InvalidValueError, match=r'`ppo\.reward` must be "drawn" with a CARL reward'):
        TrainConfig(env=EnvConfig(carl=CarlRewardConfig()), ppo=PPOConfig(reward="expected"))
    with pytest.raises(InvalidValueError, match=r'`ppo\.reward` must be one of drawn, expected\. Received'):
        PPOConfig(reward="guessed")
