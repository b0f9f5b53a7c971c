"""PPO under a constraint: cost advantages, the multiplier, what it learns, and that saving loses nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor, VecNormalize

from agents.episodes.sb3_adapter import VectorEnvToSB3
from agents.policy.beta_policy import BetaPolicy
from agents.training.constrained_ppo.lagrange_multiplier import LagrangeMultiplier
from agents.training.constrained_ppo.ppo_lagrangian import PPOLagrangian
from lm.errors import InvalidValueError
from tests.agents.toy_envs import SpendingVectorEnv

SETTINGS: dict[str, Any] = {"n_steps": 6, "batch_size": 24, "n_epochs": 2, "seed": 3, "device": "cpu"}


def spending(num_envs: int = 4) -> VectorEnvToSB3:
    return VectorEnvToSB3(SpendingVectorEnv(num_envs))


class Recorder(VecEnvWrapper):
    """Keeps what every step returned."""

    def __init__(self, env: VectorEnvToSB3) -> None:
        super().__init__(env)
        self.steps: list[tuple[np.ndarray, np.ndarray, list[dict]]] = []

    def reset(self) -> Any:
        self.first = self.venv.reset()
        return self.first

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        self.steps.append((observations, dones, infos))
        return observations, rewards, dones, infos


class Collecting(PPOLagrangian):
    """Learns nothing."""

    def train(self) -> None:
        pass


def test_cost_advantages_equal_a_slow_version() -> None:
    """Row by row: each advantage is the discounted sum of the temporal differences up to the end of its episode."""
    env = Recorder(spending())
    gamma, gae_lambda = 0.9, 0.7
    ppo = Collecting("MlpPolicy", env, **SETTINGS, gamma=0.5, cost_gamma=gamma, cost_gae_lambda=gae_lambda)
    ppo.learn(24)

    def value(observation: np.ndarray) -> float:
        return ppo.cost_critic.predict(torch.as_tensor(observation[None])).item()

    before = [env.first, *(observations for observations, _, _ in env.steps)]
    for row in range(4):
        differences, ends = [], []
        for step, (observations, dones, infos) in enumerate(env.steps):
            follows = value(observations[row])
            if dones[row]:
                is_truncated = infos[row]["TimeLimit.truncated"]
                assert is_truncated == (row % 2 == 1)
                follows = value(infos[row]["terminal_observation"]) if is_truncated else 0.0
            differences.append(infos[row]["cost"] + gamma * follows - value(before[step][row]))
            ends.append(dones[row])
        for step in range(6):
            expected = 0.0
            for later in range(step, 6):
                expected += (gamma * gae_lambda) ** (later - step) * differences[later]
                if ends[later]:
                    break
            assert ppo.cost_buffer.advantages[step, row] == pytest.approx(expected, abs=1e-5)
            target = expected + value(before[step][row])
            assert ppo.cost_buffer.returns[step, row] == pytest.approx(target, abs=1e-5)


def test_episode_costs_are_sums_over_whole_episodes() -> None:
    """Of the 6 steps of a rollout, 4 end an episode; the next rollout ends two, the first of which began before it."""
    env = Recorder(spending())
    ppo = Collecting("MlpPolicy", env, **SETTINGS)
    ppo.learn(24)
    spent = np.array([[info["cost"] for info in infos] for _, _, infos in env.steps])
    assert ppo.episode_costs == pytest.approx(spent[:4].sum(axis=0))
    ppo.learn(24, reset_num_timesteps=False)
    spent = np.array([[info["cost"] for info in infos] for _, _, infos in env.steps])
    assert ppo.episode_costs == pytest.approx([*spent[4:8].sum(axis=0), *spent[8:12].sum(axis=0)])
    ppo.learn(24)  # from the beginning: what had been spent in the episode under way is forgotten
    spent = np.array([[info["cost"] for info in infos] for _, _, infos in env.steps])
    assert ppo.episode_costs == pytest.approx(spent[12:16].sum(axis=0))


def test_multiplier_steps_by_hand() -> None:
    """Adam, written out: m and v are running means of gradient and square, divided by 1 - β^t."""
    multiplier = LagrangeMultiplier(initial=0.1, learning_rate=0.05)
    weight, mean, square = 0.1, 0.0, 0.0
    path = []
    for step, excess in enumerate((2.0, 0.5, *[-4.0] * 8, 50.0, 50.0), start=1):
        multiplier.ascend(excess)
        gradient = -excess
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        weight -= 0.05 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)) ** 0.5 + 1e-8)
        weight = max(weight, 0.0)
        assert multiplier.value == pytest.approx(weight, abs=1e-6)
        path.append(multiplier.value)
    assert max(path) > 0.1 and min(path) == 0.0 < path[-1]  # up, clamped on the way down, and up again


def test_a_gain_adds_the_newest_excess() -> None:
    plain, damped = LagrangeMultiplier(0.3, 0.05), LagrangeMultiplier(0.3, 0.05, gain=0.1)
    assert damped.value == pytest.approx(0.3)  # no excess is known yet
    for excess in (2.0, -0.5, -40.0):
        plain.ascend(excess), damped.ascend(excess)
        assert damped.value == pytest.approx(max(0.0, plain.value + 0.1 * excess), abs=1e-6)
    assert damped.value == 0.0 < plain.value
    again = LagrangeMultiplier(0.0, 0.05, gain=0.1)
    again.load_state_dict(damped.state_dict())  # where no episode ends, λ stays after a resumption too
    assert (again.value, again.excess.item()) == (damped.value, -40.0)


def test_a_gain_keeps_the_multiplier_from_swinging() -> None:
    """A policy that follows λ with a delay: its cost falls by 0.1 (λ - 2) an update, and the floor is at cost 0."""
    swings = {}
    for gain in (0.0, 0.5):
        multiplier, cost, costs = LagrangeMultiplier(0.0, 0.05, gain=gain), 5.0, []
        for _ in range(1000):
            multiplier.ascend(cost)
            cost -= 0.1 * (multiplier.value - 2.0)
            costs.append(cost)
        swings[gain] = max(map(abs, costs[500:]))
    assert swings[0.0] > 2.0
    assert swings[0.5] < 0.5


class BeforeLearning(BaseCallback):
    """Keeps the advantages of the rewards, as SB3 estimated them."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.advantages = self.model.rollout_buffer.advantages.copy()


@pytest.mark.parametrize(
    ("initial", "limit", "multiplier"),
    [(0.5, 0.0, 0.6), (0.5, 100.0, 0.4), (0.05, 100.0, 0.0)],  # Adam's first step is its learning rate
)
def test_ppo_learns_from_both_advantages(
    initial: float, limit: float, multiplier: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ppo = PPOLagrangian(
        "MlpPolicy",
        spending(),
        cost_limit=limit,
        initial_multiplier=initial,
        multiplier_learning_rate=0.1,
        **SETTINGS,
    )
    seen = []
    monkeypatch.setattr(PPO, "train", lambda self: seen.append(self.rollout_buffer.advantages))
    before = BeforeLearning()
    ppo.learn(24, callback=before)
    costs = Collecting("MlpPolicy", spending(), **SETTINGS).learn(24).cost_buffer.advantages  # the same rollout
    np.testing.assert_allclose(seen[0], (before.advantages - multiplier * costs) / (1 + multiplier), atol=1e-6)
    assert ppo.multiplier.value == pytest.approx(multiplier)


def spending_of(ppo: PPO) -> np.ndarray:
    """(2,) what is spent at a wish of 0.5 and of 1, in the mean over the steps of an episode, as it explores."""
    observations = np.array([[wish, step] for wish in (0.5, 1.0) for step in range(4)] * 200, np.float32)
    spent, _ = ppo.predict(observations, deterministic=False)
    return spent.reshape(200, 2, 4).mean(axis=(0, 2))


@pytest.mark.parametrize(("policy", "policy_kwargs"), [(BetaPolicy, {}), ("MlpPolicy", {"log_std_init": -1.5})])
def test_it_meets_a_limit_that_ppo_breaks(policy: Any, policy_kwargs: dict) -> None:
    settings: dict[str, Any] = {"n_steps": 8, "batch_size": 64, "n_epochs": 4, "learning_rate": 3e-3, "gamma": 0.0,
                                "policy_kwargs": policy_kwargs, "seed": 0, "device": "cpu"}  # fmt: skip
    free = spending_of(PPO(policy, spending(32), **settings).learn(8_192))
    np.testing.assert_allclose(free, [0.5, 1.0], atol=0.1)
    ppo = PPOLagrangian(policy, spending(32), cost_limit=2.0, multiplier_learning_rate=0.02, **settings).learn(16_384)
    constrained = spending_of(ppo)
    np.testing.assert_allclose(constrained, [0.25, 0.75], atol=0.1)
    assert 4 * constrained.mean() == pytest.approx(2.0, abs=0.15) and 4 * free.mean() > 2.7
    assert ppo.multiplier.value == pytest.approx(0.5, abs=0.15)


def states_of(ppo: PPOLagrangian) -> dict[str, Any]:
    """Everything that learning changes, as plain numbers."""
    return {name: copy.deepcopy(state) for name, state in ppo.get_parameters().items()}


def assert_same(first: Any, second: Any) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    elif isinstance(first, torch.Tensor):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    else:
        assert first == second


@pytest.mark.parametrize("policy", [BetaPolicy, "MlpPolicy"])
def test_resuming_equals_an_uninterrupted_run(policy: Any, tmp_path: Path) -> None:
    """Saved in the middle of the episodes, after 3 of 7 updates."""
    settings = {**SETTINGS, "cost_limit": 1.0, "cost_gamma": 0.8}
    whole = PPOLagrangian(policy, VecNormalize(VecMonitor(spending())), **settings).learn(7 * 24)

    env = VecNormalize(VecMonitor(spending()))
    first = PPOLagrangian(policy, env, **settings).learn(3 * 24)
    first.save(tmp_path / "saved.zip")
    random_states = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002 - SB3 draws from it
    assert first.multiplier.value > 0
    resumed = PPOLagrangian.load(tmp_path / "saved.zip", env=env, force_reset=False, device="cpu")
    assert_same(states_of(resumed), states_of(first))
    assert resumed.cost_limit == 1.0 and resumed.cost_buffer.gamma == 0.8
    torch.set_rng_state(random_states[0])
    np.random.set_state(random_states[1])  # noqa: NPY002
    resumed.learn(4 * 24, reset_num_timesteps=False)
    assert_same(states_of(resumed), states_of(whole))
    assert resumed.episode_costs == whole.episode_costs


def test_loading_into_an_environment_of_other_size(tmp_path: Path) -> None:
    PPOLagrangian("MlpPolicy", spending(4), **SETTINGS).learn(24).save(tmp_path / "saved.zip")
    ppo = PPOLagrangian.load(tmp_path / "saved.zip", env=spending(8), device="cpu").learn(48)
    assert len(ppo.episode_costs) == 8
    assert PPOLagrangian.load(tmp_path / "saved.zip").predict(np.zeros((2, 2), np.float32))[0].shape == (2, 1)


def test_missing_and_bad_costs_are_named() -> None:
    ppo = PPOLagrangian("MlpPolicy", VectorEnvToSB3(SpendingVectorEnv(4, has_cost=False)), **SETTINGS)
    with pytest.raises(InvalidValueError, match=r'`info\["cost"\]` must be present after each step.*`cost=...`'):
        ppo.learn(24)
    env = Recorder(spending())
    ppo = PPOLagrangian("MlpPolicy", env, **SETTINGS)
    step_wait = env.step_wait

    def spoiled() -> Any:
        result = step_wait()
        result[3][2]["cost"] = float("nan")
        return result

    env.step_wait = spoiled
    with pytest.raises(InvalidValueError, match=r'`info\["cost"\]` must be a finite number. Received nan \(row 2\)'):
        ppo.learn(24)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cost_limit": float("inf")}, "`cost_limit` must be a finite number. Received inf."),
        ({"initial_multiplier": -0.1}, "`initial_multiplier` must be at least 0 and at most 1e+06. Received -0.1."),
        ({"multiplier_learning_rate": 0}, "`multiplier_learning_rate` must be above 0 and at most 1000. Received 0.0."),
        ({"cost_gamma": 1.5}, "`cost_gamma` must be in [0, 1]. Received 1.5."),
        ({"cost_gae_lambda": -1.0}, "`cost_gae_lambda` must be in [0, 1]. Received -1.0."),
    ],
)
def test_bad_settings_are_named(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        PPOLagrangian("MlpPolicy", spending(), **SETTINGS, **settings)
    assert str(caught.value) == message
