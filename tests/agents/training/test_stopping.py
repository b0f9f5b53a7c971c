"""Stop requests of a training run: finish keeps the policy learned so far, cancel a checkpoint to continue from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.episodes.env_config import EnvConfig
from agents.policy.controller import Controller
from agents.training.config import ConstraintConfig, PPOConfig, TrainConfig, WarmStartConfig
from agents.training.learning_curve import read_learning_curve
from agents.training.run import train
from benchmarks.reliability.final_result import final_result
from lm.runs.progress import Progress
from lm.runs.record import read_record
from lm.runs.stop import RunCancelledError, StopRequest
from tests.stop_at import StopAt

PPO = PPOConfig(num_envs=4, rollout_steps=8, batch_size=16, epochs=2, hidden_sizes=(8,))
WARM = WarmStartConfig(env_steps=96, candidates=4, rollout_steps=8, gradient_steps=3, batch_size=32)


@pytest.fixture
def config(tiny_env: EnvConfig) -> TrainConfig:
    """Six rollouts of 32 steps; no checkpoint is due before the end."""
    env = replace(tiny_env, max_episode_steps=12)
    return TrainConfig(env=env, ppo=PPO, total_steps=192, checkpoint_every=1000, seed=5)


def state_of(folder: Path) -> str:
    record = read_record(folder)
    assert record is not None
    return record.state


def steps_of_curve(folder: Path) -> list[int]:
    return [point.step for point in read_learning_curve(folder / "learning_curve.jsonl")]


def variants(config: TrainConfig) -> dict[str, TrainConfig]:
    constraint = ConstraintConfig(initial_multiplier=0.5)
    return {
        "plain": config,
        "warm start": replace(config, warm_start=WARM),
        "under a constraint": replace(
            config,
            env=replace(config.env, cost="diversity_floor", cost_bound=1.0),
            ppo=replace(PPO, constraint=constraint),
        ),
    }


def test_stages_of_a_run_with_a_warm_start(config: TrainConfig, tmp_path: Path) -> None:
    reports: list[Progress] = []
    train(replace(config, warm_start=WARM), tmp_path / "run", progress=reports.append)
    assert [(report.stage, report.done, report.total) for report in reports] == [
        *(("Warm start", step, 96) for step in (32, 64, 96)),
        *(("Training the controller", step, 192) for step in (128, 160, 192)),
    ]
    assert {report.unit for report in reports} == {"env steps"}


@pytest.mark.parametrize("name", ["plain", "warm start", "under a constraint"])
@pytest.mark.parametrize("step", [64, 96, 128])
def test_a_cancelled_run_is_resumed_to_the_result_of_the_uninterrupted_one(
    config: TrainConfig, tmp_path: Path, name: str, step: int
) -> None:
    config = variants(config)[name]
    train(config, tmp_path / "whole")
    control = StopAt(step, "cancel")
    with pytest.raises(RunCancelledError):
        train(config, tmp_path / "run", progress=control, stop=control.stop)
    assert state_of(tmp_path / "run") == "cancelled" and not (tmp_path / "run" / "controller").exists()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [f"{step:010d}"]
    assert steps_of_curve(tmp_path / "run") == list(range(32, step + 1, 32))
    again: list[Progress] = []
    train(config, tmp_path / "run", resume=True, progress=again.append)
    assert again[0].done == step + 32
    assert final_result(tmp_path / "run") == final_result(tmp_path / "whole")


@pytest.mark.parametrize(("name", "step"), [("plain", 64), ("warm start", 64), ("warm start", 128)])
def test_a_run_that_is_to_finish_keeps_the_policy_learned_so_far(
    config: TrainConfig, tmp_path: Path, name: str, step: int
) -> None:
    config = variants(config)[name]
    whole = train(config, tmp_path / "whole")
    control = StopAt(step, "finish")
    controller = train(config, tmp_path / "run", progress=control, stop=control.stop)
    assert state_of(tmp_path / "run") == "completed" and controller.metrics["step"] == step
    assert steps_of_curve(tmp_path / "run") == [report.done for report in control.reports]
    assert control.reports[-1].done == step
    observations = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    loaded = Controller.load(tmp_path / "run").act(observations)
    np.testing.assert_array_equal(loaded, controller.act(observations))
    assert np.abs(loaded - whole.act(observations)).max() > 0
    # What is left can be learned later.
    train(config, tmp_path / "run", resume=True)
    assert final_result(tmp_path / "run") == final_result(tmp_path / "whole")


def test_requests_before_the_first_update(config: TrainConfig, tmp_path: Path) -> None:
    stop = StopRequest()
    stop.finish()
    assert train(config, tmp_path / "finished", stop=stop).metrics["step"] == 32
    assert steps_of_curve(tmp_path / "finished") == [32]
    stop.cancel()
    with pytest.raises(RunCancelledError):
        train(config, tmp_path / "cancelled", stop=stop)
    assert not (tmp_path / "cancelled" / "checkpoints").exists() and steps_of_curve(tmp_path / "cancelled") == []
    train(config, tmp_path / "cancelled", resume=True)
    train(config, tmp_path / "whole")
    assert final_result(tmp_path / "cancelled") == final_result(tmp_path / "whole")
