import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.episodes.env_config import EnvConfig
from agents.policy.beta_policy import BetaPolicy
from agents.policy.controller import Controller
from agents.training import checkpoints
from agents.training.config import ConstraintConfig, PPOConfig, TrainConfig
from agents.training.constrained_ppo.ppo_lagrangian import PPOLagrangian
from agents.training.learning_curve import read_learning_curve
from agents.training.run import LinearLearningRate, train
from lm.errors import CheckpointError, DivergedError, InvalidValueError, OutputExistsError
from lm.models.bundle import load_model, save_bundle
from lm.models.reference_statistics import FILE_NAME, ReferenceStatistics
from lm.runs.progress import Progress
from lm.tokenizers.tokenization import load_tokenizer

PPO_CONFIG = PPOConfig(num_envs=4, rollout_steps=8, batch_size=16, epochs=2, gamma=0.5, hidden_sizes=(8,))


@pytest.fixture
def config(tiny_env: EnvConfig) -> TrainConfig:
    """Four updates of 32 steps, a checkpoint after every second one."""
    return TrainConfig(env=tiny_env, ppo=PPO_CONFIG, total_steps=128, checkpoint_every=64)


class Stop(BaseException):
    """Stands for Ctrl-C or a kill at a known place."""


def stop_at(step: int):
    def listen(progress: Progress) -> None:
        if progress.done >= step:
            raise Stop

    return listen


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_run_leaves_everything_in_its_folder(config: TrainConfig, output: Path, capsys) -> None:
    reports: list[Progress] = []
    controller = train(config, output, progress=reports.append)
    assert names_in(output) == {
        "run.json", "events.jsonl", "learning_curve.jsonl", "tensorboard", "checkpoints", "controller"}  # fmt: skip
    assert names_in(output / "checkpoints") == {"0000000128"}
    assert json.loads((output / "run.json").read_text())["config"]["ppo"]["num_envs"] == 4
    assert capsys.readouterr().out == ""

    points = read_learning_curve(output / "learning_curve.jsonl")
    assert [point.step for point in points] == [32, 64, 96, 128]
    for report, point in zip(reports, points, strict=True):
        assert (report.stage, report.done, report.total) == ("Training the controller", point.step, 128)
        assert report.metrics["episode_reward"] == point.episode_reward
        assert tuple(report.metrics[name] for name in ("creativity", "focus", "stability")) == point.gate_means
        assert "multiplier" not in report.metrics and report.metrics["steps_per_second"] > 0
    for point in points:
        assert 2 <= point.episode_length <= 6
        assert all(0 <= mean <= 1 for mean in point.gate_means)
        assert all(0 < std < 0.5 for std in point.gate_stds)

    observations = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    loaded = Controller.load(output)
    np.testing.assert_array_equal(loaded.act(observations), controller.act(observations))
    assert loaded.metrics["step"] == 128
    assert loaded.metrics["episode_reward"] == points[-1].episode_reward

    events = EventAccumulator(str(output / "tensorboard")).Reload()
    assert {"rollout/ep_rew_mean", "gates/focus_std", "train/approx_kl"} <= set(events.Tags()["scalars"])


def test_controller_is_the_last_policy_of_sb3(config: TrainConfig, output: Path) -> None:
    controller = train(config, output)
    ppo = PPO.load(output / "checkpoints" / "0000000128" / "ppo.zip", device="cpu")
    assert isinstance(ppo.policy, BetaPolicy)
    observations = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    statistics = json.loads((output / "checkpoints" / "0000000128" / "normalization.json").read_text())["observations"]
    scale = np.sqrt(np.array(statistics["variance"]) + 1e-8)
    normalized = np.clip((observations - statistics["mean"]) / scale, -10, 10).astype(np.float32)
    expected, _ = ppo.predict(normalized, deterministic=True)
    np.testing.assert_array_equal(controller.act(observations), expected)


def test_same_seed_same_policy(config: TrainConfig, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        controller = train(replace(config, total_steps=64, seed=seed), tmp_path / name)
        weights.append(torch.cat([tensor.flatten() for tensor in controller.policy.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": "gaussian"},
        {"normalize_observations": False, "normalize_rewards": False, "learning_rate_schedule": "constant"},
    ],
)
def test_variants_train_and_load(config: TrainConfig, output: Path, changes: dict) -> None:
    train(replace(config, ppo=replace(PPO_CONFIG, **changes), total_steps=64), output)
    actions = Controller.load(output).act(np.full((2, 64), 3.0))
    assert actions.shape == (2, 3)
    assert ((actions >= 0) & (actions <= 1)).all()


def test_resume_continues_from_the_last_checkpoint(config: TrainConfig, output: Path) -> None:
    with pytest.raises(Stop):
        train(config, output, progress=stop_at(96))
    assert names_in(output / "checkpoints") == {"0000000064"}
    saved = PPO.load(output / "checkpoints" / "0000000064" / "ppo.zip", device="cpu").policy.state_dict()

    seen: list[int] = []
    train(config, output, resume=True, progress=lambda report: seen.append(report.done))
    assert seen == [96, 128]
    curve = read_learning_curve(output / "learning_curve.jsonl")
    assert [point.step for point in curve] == [32, 64, 96, 128]
    assert all(earlier.seconds < later.seconds for earlier, later in pairwise(curve))
    final = PPO.load(output / "checkpoints" / "0000000128" / "ppo.zip", device="cpu").policy
    moved = max((final.state_dict()[name] - tensor).abs().max() for name, tensor in saved.items())
    assert 0 < moved < 0.05  # two updates away, not a fresh start
    # Adam's step count is restored as well: 4 updates x 2 epochs x 2 minibatches.
    assert {int(state["step"]) for state in final.optimizer.state.values()} == {16}


def test_resuming_a_finished_run_gives_its_controller(config: TrainConfig, output: Path) -> None:
    controller = train(config, output)
    again = train(config, output, resume=True, progress=stop_at(0))
    observations = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    np.testing.assert_array_equal(again.act(observations), controller.act(observations))
    assert again.metrics["episode_reward"] == controller.metrics["episode_reward"]


def constrained(config: TrainConfig) -> TrainConfig:
    """The same run under a floor that is out of reach, so that λ grows."""
    env = replace(config.env, cost="diversity_floor", cost_bound=1.0)
    return replace(config, env=env, ppo=replace(config.ppo, constraint=ConstraintConfig(initial_multiplier=0.5)))


def test_a_constrained_run_shows_cost_and_multiplier(config: TrainConfig, output: Path) -> None:
    reports: list[Progress] = []
    train(constrained(config), output, progress=reports.append)
    points = read_learning_curve(output / "learning_curve.jsonl")
    assert [report.metrics["multiplier"] for report in reports] == [point.multiplier for point in points]
    assert [report.metrics["episode_cost"] for report in reports] == [point.episode_cost for point in points]
    assert [point.multiplier for point in points] == sorted(point.multiplier for point in points)
    assert points[0].multiplier == 0.5 < points[-1].multiplier
    for point in points:
        assert 0 < point.episode_cost < point.episode_length  # each token costs less than 1
    events = EventAccumulator(str(output / "tensorboard")).Reload()
    assert {"rollout/ep_cost_mean", "train/lagrange_multiplier", "train/cost_value_loss"} <= set(
        events.Tags()["scalars"]
    )
    assert Controller.load(output).act(np.zeros((1, 64))).shape == (1, 3)


def test_a_constrained_run_resumes_after_kill_9_with_its_multiplier(config: TrainConfig, output: Path) -> None:
    config = constrained(config)
    arguments = [sys.executable, "-c", KILLED, json.dumps(asdict(config)), str(output)]
    root = Path(__file__).parents[3]
    killed = subprocess.run(arguments, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    before = read_learning_curve(output / "learning_curve.jsonl")
    assert [point.step for point in before] == [32, 64, 96]  # the last checkpoint is that of 64
    train(config, output, resume=True)
    curve = read_learning_curve(output / "learning_curve.jsonl")
    assert [point.step for point in curve] == [32, 64, 96, 128]
    assert curve[2].multiplier == before[2].multiplier > before[1].multiplier
    # Adam goes on as well: 4 updates, of λ and, by 2 epochs of 2 minibatches, of the cost critic.
    saved = PPOLagrangian.load(output / "checkpoints" / "0000000128" / "ppo.zip", device="cpu")
    assert saved.multiplier.optimizer.state[saved.multiplier.weight]["step"] == 4
    assert {int(state["step"]) for state in saved.cost_critic.optimizer.state.values()} == {16}


def test_a_constraint_needs_a_cost(config: TrainConfig) -> None:
    with pytest.raises(InvalidValueError, match=r"`ppo.constraint` must be None without an `env.cost`"):
        replace(config, ppo=replace(config.ppo, constraint=ConstraintConfig()))


KILLED = """
import json, os, signal, sys
from agents.episodes.env_config import EnvConfig
from agents.training.run import train
from agents.training.config import PPOConfig, TrainConfig, WarmStartConfig
content = json.loads(sys.argv[1])
content["env"], content["ppo"] = EnvConfig(**content["env"]), PPOConfig(**content["ppo"])
content["warm_start"] = WarmStartConfig(**content["warm_start"])
train(TrainConfig(**content), sys.argv[2], progress=lambda p: p.done >= 96 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_resume_after_kill_9(config: TrainConfig, output: Path) -> None:
    arguments = [sys.executable, "-c", KILLED, json.dumps(asdict(config)), str(output)]
    root = Path(__file__).parents[3]
    killed = subprocess.run(arguments, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (output / "controller").exists()
    (output / "checkpoints" / "0000000096.partial").mkdir()  # as if killed while writing
    with (output / "learning_curve.jsonl").open("a") as file:
        file.write('{"step": 96, "tot')
    # As a list, which JSON made of the tuple of prompts, the configuration is still the same.
    train(config, output, resume=True)
    assert [point.step for point in read_learning_curve(output / "learning_curve.jsonl")] == [32, 64, 96, 128]
    assert Controller.load(output).metrics["step"] == 128


def test_full_disk_leaves_the_last_checkpoint_whole(
    config: TrainConfig, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoints.write_json

    def full(path: Path, content: dict) -> None:
        if "0000000128" in str(path) and path.name == "progress.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(checkpoints, "write_json", full)
    with pytest.raises(
        CheckpointError, match=r"No space left on device.*checkpoints/0000000064 is intact; resume from it"
    ):
        train(config, output)
    assert names_in(output / "checkpoints") == {"0000000064"}
    monkeypatch.undo()
    assert train(config, output, resume=True).metrics["step"] == 128


def test_ctrl_c_while_saving_leaves_the_last_checkpoint_whole(
    config: TrainConfig, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = PPO.save

    def interrupted(self: PPO, path: Path) -> None:
        save(self, path)
        if self.num_timesteps == 128:
            raise KeyboardInterrupt

    monkeypatch.setattr(PPO, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, output)
    assert names_in(output / "checkpoints") == {"0000000064"}


def test_a_run_is_not_overwritten_unasked(config: TrainConfig, output: Path) -> None:
    train(replace(config, total_steps=64), output)
    before = (output / "learning_curve.jsonl").read_text()
    with pytest.raises(OutputExistsError, match="already holds a run"):
        train(config, output)
    assert (output / "learning_curve.jsonl").read_text() == before
    train(config, output, overwrite=True)
    assert [point.step for point in read_learning_curve(output / "learning_curve.jsonl")] == [32, 64, 96, 128]


def test_resuming_with_another_configuration_is_refused(config: TrainConfig, output: Path) -> None:
    train(replace(config, total_steps=64), output)
    with pytest.raises(CheckpointError, match=r"`ppo.gamma` was 0.5 and is 0.9"):
        train(replace(config, total_steps=64, ppo=replace(PPO_CONFIG, gamma=0.9)), output, resume=True)


def test_resuming_with_other_weights_under_the_same_name_is_refused(
    config: TrainConfig, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    statistics = ReferenceStatistics.load(Path(tiny_model) / FILE_NAME)
    model, tokenizer = load_model(tiny_model), load_tokenizer(tiny_model)
    save_bundle("./model", model, tokenizer, statistics)
    config = replace(config, env=replace(config.env, model="./model"), total_steps=64)
    train(config, "run")

    monkeypatch.setattr("agents.training.run.fingerprint_of", lambda model: "0123456789ab")
    message = (
        r"belongs to the model './model' \(weights [0-9a-f]{12}\), but this run has the model './model' \(weights 01"
    )
    with pytest.raises(CheckpointError, match=message):
        train(config, "run", resume=True)

    with torch.no_grad():
        original = checkpoints.fingerprint_of(model)
        model.lm_head.bias[3] += 1e-3
    assert checkpoints.fingerprint_of(model) != original


@pytest.mark.parametrize("name", ["ppo.zip", "normalization.json", "progress.json"])
def test_damaged_checkpoint_is_named(config: TrainConfig, output: Path, name: str) -> None:
    train(replace(config, total_steps=64), output)
    path = output / "checkpoints" / "0000000064" / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="0000000064 is damaged or of another policy"):
        train(replace(config, total_steps=64), output, resume=True)


def test_a_run_whose_curve_lacks_a_point_is_not_resumed(config: TrainConfig, output: Path) -> None:
    config = replace(config, total_steps=64)
    train(config, output)
    path = output / "learning_curve.jsonl"
    first = path.read_text().splitlines()[0]
    for content in ("", first + "\n", first + '\n{"step": 64, "tot'):
        path.write_text(content)
        with pytest.raises(CheckpointError, match=r"lacks the point of the checkpoint at step 64\."):
            train(config, output, resume=True)
        assert path.read_text() == content


def test_learning_rate_falls_in_equal_steps_and_stays_above_zero() -> None:
    """As SB3 calls it, in a run of four updates: with 3/4, 2/4, 1/4 and 0 of the run left."""
    schedule = LinearLearningRate(initial=0.8, num_updates=4)
    assert [schedule(remaining) for remaining in (0.75, 0.5, 0.25, 0.0)] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert schedule(1.0) == pytest.approx(0.8)  # at construction


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PPOConfig(num_envs=0), "`ppo.num_envs` must be at least 1. Received 0."),
        (lambda: PPOConfig(num_envs=2, rollout_steps=2, batch_size=5), "`ppo.batch_size` must be at most `ppo."),
        (lambda: PPOConfig(learning_rate=float("nan")), "`ppo.learning_rate` must be a finite number. Received nan."),
        (lambda: PPOConfig(gamma=1.1), "`ppo.gamma` must be in [0, 1]. Received 1.1."),
        (lambda: PPOConfig(hidden_sizes=()), "`ppo.hidden_sizes` must be one or more widths. Received ()."),
        (lambda: ConstraintConfig(limit=float("nan")), "`ppo.constraint.limit` must be a finite number. Received nan."),
        (lambda: ConstraintConfig(initial_multiplier=-1), "`ppo.constraint.initial_multiplier` must be at least 0"),
        (lambda: ConstraintConfig(gamma=2), "`ppo.constraint.gamma` must be in [0, 1]. Received 2."),
        (lambda: PPOConfig(constraint={"limt": 1}), "`constraint` may only have the keys limit, initial_multiplier"),
        (lambda: PPOConfig(policy="dirac"), "`ppo.policy` must be one of beta, gaussian. Received 'dirac'."),
        (lambda: TrainConfig(total_steps=0), "`total_steps` must be at least 1. Received 0."),
        (lambda: TrainConfig(seed=-1), "`seed` must be at least 0 and at most 4294967295. Received -1."),
    ],
)
def test_bad_settings_are_named(make, message: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_a_training_that_diverges_ends_by_name_and_saves_nothing(config: TrainConfig, output: Path, monkeypatch):
    learn = PPO.train

    def diverge(ppo: PPO) -> None:
        learn(ppo)
        if ppo.num_timesteps == 96:
            ppo.policy.value_net.weight.data[0, 0] = np.nan

    monkeypatch.setattr(PPO, "train", diverge)
    with pytest.raises(DivergedError, match=r"weights of `value_net.weight` are NaN or infinite after step 96. Choose"):
        train(config, output)
    assert names_in(output / "checkpoints") == {"0000000064"}
    assert not (output / "controller").exists()


def test_a_distribution_that_is_none_is_a_training_that_diverged(config: TrainConfig, output: Path) -> None:
    ppo = replace(PPO_CONFIG, policy="gaussian", learning_rate=1000.0, max_gradient_norm=1e6)
    with pytest.raises(DivergedError, match="distribution has parameters that it cannot have after step"):
        train(replace(config, ppo=ppo, total_steps=512), output)
    assert not (output / "controller").exists()
