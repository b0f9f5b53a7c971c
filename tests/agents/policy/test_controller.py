import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from agents.episodes.sb3_adapter import VectorEnvToSB3
from agents.policy.beta_policy import BetaPolicy
from agents.policy.controller import Controller, ControllerConfig, make_policy
from agents.policy.observation_statistics import ObservationNormalizer, RunningStatistics
from lm.errors import CheckpointError, InvalidValueError, OutputExistsError
from tests.agents.toy_envs import TargetVectorEnv


def trained(policy: str = "beta") -> tuple[Controller, PPO, VecNormalize]:
    """A controller of the toy problem, and the SB3 objects that it was made from."""
    env = VecNormalize(VectorEnvToSB3(TargetVectorEnv()))
    classes = {"beta": BetaPolicy, "gaussian": "MlpPolicy"}
    arguments = {"n_steps": 16, "batch_size": 128, "n_epochs": 2, "seed": 0, "device": "cpu"}
    ppo = PPO(classes[policy], env, policy_kwargs={"net_arch": [16, 8]}, **arguments).learn(1024)
    config = ControllerConfig(
        policy=policy,
        hidden_sizes=(16, 8),
        observation_size=2,
        action_low=(0.0, 0.0),
        action_high=(1.0, 4.0),
        normalizes_observations=True,
        training={"total_steps": 1024},
        versions={"torch": "2"},
    )
    copy = make_policy(config)
    copy.load_state_dict(ppo.policy.state_dict())
    normalizer = ObservationNormalizer(RunningStatistics.of(env.obs_rms), env.epsilon, env.clip_obs)
    return Controller(config, copy, normalizer, {"step": 1024}), ppo, env


OBSERVATIONS = np.random.default_rng(0).uniform(-3, 3, (9, 2)).astype(np.float32)


@pytest.mark.parametrize("policy", ["beta", "gaussian"])
def test_folder_gives_back_what_sb3_would_do(tmp_path: Path, policy: str) -> None:
    controller, ppo, env = trained(policy)
    controller.save(tmp_path / "c")
    loaded = Controller.load(tmp_path / "c")
    expected, _ = ppo.predict(env.normalize_obs(OBSERVATIONS), deterministic=True)
    np.testing.assert_array_equal(loaded.act(OBSERVATIONS), expected)
    assert (loaded.config, loaded.metrics) == (controller.config, {"step": 1024})
    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        "controller.json", "metrics.json", "observation_statistics.json", "policy.safetensors",
        "SHA256SUMS",
    }  # fmt: skip


def test_statistics_survive_json_exactly() -> None:
    mean = np.random.default_rng(0).normal(size=64) * 1e-7
    statistics = RunningStatistics(mean, np.exp(mean), 1e6 + 1e-4)
    again = RunningStatistics.from_json(json.loads(json.dumps(statistics.to_json())))
    np.testing.assert_array_equal(again.mean, statistics.mean)
    np.testing.assert_array_equal(again.variance, statistics.variance)
    assert again.count == statistics.count


def test_stochastic_actions_differ_from_the_mean() -> None:
    controller, _, _ = trained()
    assert np.abs(controller.act(OBSERVATIONS, deterministic=False) - controller.act(OBSERVATIONS)).max() > 0.01


def test_run_folder_is_taken_for_its_controller(tmp_path: Path) -> None:
    trained()[0].save(tmp_path / "run" / "controller")
    assert Controller.load(tmp_path / "run").config.observation_size == 2


def test_a_controller_is_not_overwritten_unasked(tmp_path: Path) -> None:
    controller, _, _ = trained()
    controller.save(tmp_path / "c")
    with pytest.raises(OutputExistsError, match="already exists"):
        controller.save(tmp_path / "c")
    controller.save(tmp_path / "c", overwrite=True)
    assert Controller.load(tmp_path / "c").metrics == {"step": 1024}


@pytest.mark.parametrize("shape", [(2,), (3, 3), (1, 2, 2)])
def test_observations_of_another_shape_are_named(shape: tuple[int, ...]) -> None:
    controller, _, _ = trained()
    with pytest.raises(InvalidValueError, match=r"^`observations` must have shape \(N, 2\)\. Received \("):
        controller.act(np.zeros(shape))


def damage(folder: Path, name: str) -> None:
    """Damage a controller's folder in the way that `name` says."""
    config = json.loads((folder / "controller.json").read_text())
    if name == "no config":
        (folder / "controller.json").unlink()
    elif name == "later format":
        (folder / "controller.json").write_text(json.dumps(config | {"format_version": 99}))
    elif name == "field missing":
        del config["observation_size"]
        (folder / "controller.json").write_text(json.dumps(config))
    elif name == "policy unknown":
        (folder / "controller.json").write_text(json.dumps(config | {"policy": "dirac"}))
    elif name == "other size":
        (folder / "controller.json").write_text(json.dumps(config | {"observation_size": 3}))
    elif name == "weights flipped":
        content = bytearray((folder / "policy.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "policy.safetensors").write_bytes(content)
    elif name == "weights cut":
        (folder / "SHA256SUMS").unlink()
        (folder / "policy.safetensors").write_bytes((folder / "policy.safetensors").read_bytes()[:100])
    elif name == "weight missing":
        (folder / "SHA256SUMS").unlink()
        weights = load_file(folder / "policy.safetensors")
        weights.popitem()
        save_file(weights, folder / "policy.safetensors")
    elif name == "no statistics":
        (folder / "observation_statistics.json").unlink()
    elif name == "statistics not JSON":
        (folder / "observation_statistics.json").write_text("{")
    elif name == "statistics too short":
        content = json.loads((folder / "observation_statistics.json").read_text())
        (folder / "observation_statistics.json").write_text(json.dumps(content | {"mean": [0.0]}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no config", "holds no controller: there is no controller.json"),
        ("later format", "has format version 99, and this release reads 1"),
        ("field missing", "is damaged: .*observation_size"),
        ("policy unknown", "is damaged: `policy` must be one of beta, gaussian. Received 'dirac'"),
        ("other size", "does not fit the policy of controller.json"),
        ("weights flipped", r"policy\.safetensors is damaged: its checksum is not the one in SHA256SUMS"),
        ("weights cut", "does not fit the policy of controller.json"),
        ("weight missing", "does not fit the policy of controller.json"),
        ("no statistics", "lacks observation_statistics.json"),
        ("statistics not JSON", "cannot be read"),
        ("statistics too short", r"has statistics of shape \(1,\) for 2 observations"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, message: str) -> None:
    trained()[0].save(tmp_path / "c")
    damage(tmp_path / "c", name)
    with pytest.raises(CheckpointError, match=message):
        Controller.load(tmp_path / "c")
