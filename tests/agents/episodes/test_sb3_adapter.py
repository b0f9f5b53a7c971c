import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeAwareObservation
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from agents.episodes.sb3_adapter import VectorEnvToSB3
from lm.errors import InvalidValueError
from tests.agents.toy_envs import CountingVectorEnv, SpendingVectorEnv


def cart_poles(num_envs: int = 3, **kwargs) -> SyncVectorEnv:
    def make() -> gymnasium.Env:
        return gymnasium.make("CartPole-v1", max_episode_steps=12, **kwargs)

    return SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


ACTIONS = np.full((3, 1), 0.5, np.float32)


def test_terminal_observations_and_truncation_flags() -> None:
    env = VectorEnvToSB3(CountingVectorEnv())
    np.testing.assert_array_equal(env.reset(), [[0, 0], [1, 0], [2, 0]])
    assert env.reset_infos == [{"row": 0}, {"row": 1}, {"row": 2}]
    for _ in range(2):
        _, _, dones, infos = env.step(ACTIONS)
        assert not dones.any()
        assert infos == [{}, {}, {}]
    observations, rewards, dones, infos = env.step(ACTIONS)
    np.testing.assert_array_equal(observations, [[0, 0], [1, 0], [2, 3]])  # rows 0 and 1 have started again
    np.testing.assert_array_equal(rewards, [3, 103, 203])
    np.testing.assert_array_equal(dones, [True, True, False])
    np.testing.assert_array_equal(infos[0].pop("terminal_observation"), [0, 3])
    np.testing.assert_array_equal(infos[1].pop("terminal_observation"), [1, 3])
    assert infos == [{"steps": 3, "TimeLimit.truncated": False}, {"steps": 3, "TimeLimit.truncated": True}, {}]
    np.testing.assert_array_equal(env.vector_infos["steps"], [3, 3, 3])


def test_every_row_has_its_cost() -> None:
    """Constrained algorithms look for it after every step, the last one of an episode included."""
    env = VectorEnvToSB3(SpendingVectorEnv(3))
    env.seed(0)
    env.reset()
    actions = np.array([[0.1], [0.2], [0.3]], np.float32)
    for step in range(1, 6):
        _, _, dones, infos = env.step(actions)
        assert dones.all() == (step == 4)
        assert [info["cost"] for info in infos] == pytest.approx([0.1, 0.2, 0.3])


def test_nothing_returned_changes_later() -> None:
    """The toy env writes into the same arrays at every step; SB3 keeps observations and adds to rewards in place."""
    env = VectorEnvToSB3(CountingVectorEnv())
    first = env.reset()
    second, rewards, _, infos = env.step(ACTIONS)
    infos[0]["note"] = "mine"
    rewards += 1000
    third, later_rewards, _, later_infos = env.step(ACTIONS)
    np.testing.assert_array_equal(first[:, 1], [0, 0, 0])
    np.testing.assert_array_equal(second[:, 1], [1, 1, 1])
    np.testing.assert_array_equal(third[:, 1], [2, 2, 2])
    np.testing.assert_array_equal(later_rewards, [2, 102, 202])
    assert later_infos == [{}, {}, {}]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_other_autoreset_modes_are_refused(mode: AutoresetMode) -> None:
    with pytest.raises(InvalidValueError, match=r"^`autoreset_mode` of the vector env must be SAME_STEP\. Received"):
        VectorEnvToSB3(CountingVectorEnv(autoreset_mode=mode))


def test_matches_gymnasium_step_by_step() -> None:
    reference, env = cart_poles(), VectorEnvToSB3(cart_poles())
    expected, _ = reference.reset(seed=[5, 6, 7])
    env.seed(5)
    np.testing.assert_array_equal(env.reset(), expected)
    rng = np.random.default_rng(0)
    num_done = 0
    for _ in range(40):
        actions = rng.integers(0, 2, 3)
        expected, expected_rewards, terminations, truncations, infos = reference.step(actions)
        observations, rewards, dones, row_infos = env.step(actions)
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_array_equal(rewards, expected_rewards)
        np.testing.assert_array_equal(dones, terminations | truncations)
        for row in np.flatnonzero(dones):
            num_done += 1
            np.testing.assert_array_equal(row_infos[row]["terminal_observation"], infos["final_obs"][row])
            assert row_infos[row]["TimeLimit.truncated"] == (truncations[row] and not terminations[row])
    assert num_done >= 9


def test_attributes_of_sub_environments() -> None:
    env = VectorEnvToSB3(cart_poles(render_mode="rgb_array"))
    assert env.render_mode == "rgb_array"
    assert env.get_attr("render_mode", 1) == ["rgb_array"]
    env.set_attr("tag", 3)
    env.set_attr("tag", 4, indices=[2])
    assert env.get_attr("tag") == [3, 3, 4]
    assert env.has_attr("tag")
    assert not env.has_attr("no_such_thing")
    assert env.env_method("has_wrapper_attr", "tag", indices=[0, 1]) == [True, True]
    assert env.env_is_wrapped(gymnasium.wrappers.TimeLimit) == [True, True, True]
    assert env.env_is_wrapped(Monitor, indices=0) == [False]
    env.close()


def test_attributes_of_a_vector_env_without_sub_environments() -> None:
    wrapped = gymnasium.wrappers.vector.RecordEpisodeStatistics(CountingVectorEnv())
    env = VectorEnvToSB3(wrapped)
    assert env.get_attr("label", [0, 2]) == ["counting", "counting"]
    env.set_attr("label", "x")
    assert env.env_method("scaled_label", 2) == ["xx", "xx", "xx"]
    assert env.env_is_wrapped(gymnasium.wrappers.vector.RecordEpisodeStatistics) == [True, True, True]
    assert env.env_is_wrapped(TimeAwareObservation) == [False, False, False]
    assert [image[0, 0, 0] for image in env.get_images()] == [0, 1, 2]
    with pytest.raises(InvalidValueError, match=r"^`indices` must cover all rows"):
        env.set_attr("label", "y", indices=[1])
    with pytest.raises(AttributeError, match="no_such_thing"):
        env.get_attr("no_such_thing")


def test_seed_and_options_are_given_once() -> None:
    env = VectorEnvToSB3(CountingVectorEnv())
    assert env.seed(11) == [11, 12, 13]
    env.reset()
    assert env.vector_env.seed_seen == 11
    env.reset()
    assert env.vector_env.seed_seen is None
    env.set_options([{"a": 1}, {}, {}])
    with pytest.raises(InvalidValueError, match=r"^`options` must be the same for every row"):
        env.reset()


class KeepRollout(BaseCallback):
    """Records what the env gave at each step, beside SB3's own bookkeeping."""

    def __init__(self) -> None:
        super().__init__()
        self.rewards: list[np.ndarray] = []
        self.dones: list[np.ndarray] = []
        self.truncated_at: dict[tuple[int, int], np.ndarray] = {}

    def _on_step(self) -> bool:
        for row, info in enumerate(self.locals["infos"]):
            if info.get("TimeLimit.truncated"):
                self.truncated_at[len(self.rewards), row] = info["terminal_observation"]
        self.rewards.append(self.locals["rewards"].copy())
        self.dones.append(self.locals["dones"].copy())
        return True


@pytest.mark.parametrize("normalize", [False, True])
def test_advantages_bootstrap_at_truncation(normalize: bool) -> None:
    """Recompute GAE from its definition: a truncated step's successor is its terminal observation, a terminated
    step's has value 0, and neither passes advantage on."""
    gamma, gae_lambda, length = 0.9, 0.7, 20
    env = VecMonitor(VectorEnvToSB3(CountingVectorEnv()))
    env = VecNormalize(env, gamma=gamma) if normalize else env
    model = PPO(
        "MlpPolicy", env, n_steps=length, batch_size=60, gamma=gamma, gae_lambda=gae_lambda, seed=0, device="cpu"
    )
    kept = KeepRollout()
    _, callback = model._setup_learn(length * 3, kept)
    buffer: RolloutBuffer = model.rollout_buffer
    model.collect_rollouts(env, callback, buffer, length)

    def values_of(observations: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.policy.predict_values(torch.as_tensor(observations, dtype=torch.float32)).numpy()[:, 0]

    values = np.stack([values_of(observations) for observations in buffer.observations])  # (T, N)
    last_values = values_of(model._last_obs)
    assert len(kept.truncated_at) >= 8
    for row in range(3):
        advantage = 0.0
        for step in reversed(range(length)):
            is_done = kept.dones[step][row]
            if (step, row) in kept.truncated_at:
                next_value = values_of(kept.truncated_at[step, row][None])[0]
            elif is_done:
                next_value = 0.0
            else:
                next_value = values[step + 1, row] if step + 1 < length else last_values[row]
            delta = kept.rewards[step][row] + gamma * next_value - values[step, row]
            advantage = delta + (0.0 if is_done else gamma * gae_lambda * advantage)
            assert buffer.advantages[step, row] == pytest.approx(advantage, rel=1e-4, abs=1e-4)
    if not normalize:
        # Counted from 1 to the episode's end: row 1 truncates at 3, so its fourth step is the first of an episode.
        assert [float(reward[1]) for reward in kept.rewards[:4]] == [101, 102, 103, 101]
        assert kept.truncated_at[2, 1].tolist() == [1, 3]


def test_ppo_learns_on_cart_pole_through_the_adapter() -> None:
    env = VecMonitor(VectorEnvToSB3(cart_poles(4)))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=2, seed=0, device="cpu").learn(256)
    assert len(model.ep_info_buffer) > 10
    assert {info["l"] for info in model.ep_info_buffer} <= set(range(1, 13))


def test_what_vector_wrappers_write_reaches_the_infos_of_finished_rows() -> None:
    make = [lambda: gymnasium.make("CartPole-v1")] * 3
    envs = SyncVectorEnv(make, autoreset_mode=AutoresetMode.SAME_STEP)
    adapter = VectorEnvToSB3(gymnasium.wrappers.vector.RecordEpisodeStatistics(envs))
    ppo = PPO("MlpPolicy", adapter, n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu")
    ppo.learn(192)
    assert len(ppo.ep_info_buffer) > 3
    for episode in ppo.ep_info_buffer:
        assert episode["r"] == episode["l"] > 0  # a reward of 1 a step
