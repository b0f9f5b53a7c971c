"""What is shipped works: the wheel, installed into an empty folder and used far from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

USE = """
import sys
from pathlib import Path

import gymnasium
import tidal_gym

installed = Path(sys.argv[1])
assert installed in Path(tidal_gym.__file__).parents, tidal_gym.__file__

env = gymnasium.make("TidalGating-v0")
observation, _ = env.reset(seed=1)
observation, reward, *_ = env.step(env.unwrapped.neutral_action)
assert observation.shape == (64,)
envs = gymnasium.make_vec("TidalGating-v0", num_envs=3, prompts="heldout")
observations, _ = envs.reset(seed=1)
assert observations.shape == (3, 64)

from agents import Controller, EnvConfig, PPOConfig, TrainConfig, train

config = TrainConfig(EnvConfig(max_episode_steps=8), PPOConfig(num_envs=4, rollout_steps=8, batch_size=16), 64)
train(config, "run")
assert Controller.load("run/controller").act(observations).shape == (3, 3)

import agents, lm, lm.models.bundle, tidal
for package in (agents, lm, lm.models.bundle, tidal):
    assert installed in Path(package.__file__).parents, package.__file__
assert installed in Path(lm.model_names.resolve("tidal-tiny")).parents
print("used")
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    completed = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that the wheel is installed in; no build isolation and no dependencies, so no network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-cache-dir")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("tidal_gym-*.whl")
    run(*pip, "install", "--no-deps", "--no-index", "--no-compile", "--target", folder / "installed", wheel, cwd=folder)
    return folder / "installed"


def test_environment_and_training(installed: Path, tmp_path: Path) -> None:
    assert "used" in run(sys.executable, "-c", USE, installed, cwd=tmp_path, PYTHONPATH=str(installed))


def test_command(installed: Path, tmp_path: Path) -> None:
    assert "tidal-gym 0." in run(installed / "bin" / "tidal", "--version", cwd=tmp_path, PYTHONPATH=str(installed))


def test_only_the_packages_are_shipped(installed: Path) -> None:
    shipped = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    packages = {"agents", "lm", "tidal", "tidal_gym"}
    assert shipped == packages | {"bin"}
    assert {path.parent.name for path in installed.glob("*/py.typed")} >= packages  # their types count
    assert (installed / "lm" / "rlm" / "__init__.pyi").is_file()  # lists the names that are loaded lazily
