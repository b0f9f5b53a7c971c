"""Progress and stop requests of a demonstration."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.runs.progress import Progress
from lm.runs.record import read_record
from lm.runs.stop import RunCancelledError, StopRequest
from tidal.demo.config import DemoConfig
from tidal.demo.run import run_demo


@pytest.fixture
def config(model: str) -> DemoConfig:
    return DemoConfig(model=model).shortened()


class StopInStage:
    """Requests that a demonstration ends at the first report of a stage, and keeps the stages' names in order."""

    def __init__(self, stage: str, how: str) -> None:
        self.stop = StopRequest()
        self.stages: list[str] = []
        self._stage, self._how = stage, how

    def __call__(self, progress: Progress) -> None:
        if progress.stage not in self.stages:
            self.stages.append(progress.stage)
        if progress.stage == self._stage:
            getattr(self.stop, self._how)()


STAGES = ["Loading the model", "Tuning static", "Training the controller",
          *(f"Evaluating {name}" for name in ("neutral", "random", "best static", "controller"))]  # fmt: skip


@pytest.mark.parametrize("stage", ["Tuning static", "Training the controller", "Evaluating random"])
def test_a_demonstration_that_is_to_finish_evaluates_what_there_is(
    config: DemoConfig, tmp_path: Path, stage: str
) -> None:
    control = StopInStage(stage, "finish")
    result = run_demo(config, tmp_path / "demo", progress=control, stop=control.stop)
    assert control.stages == STAGES and result.oracle is None
    assert {len(evaluation.returns) for evaluation in result.evaluations.values()} == {config.episodes}
    per_update = result.training.ppo.steps_per_update
    updates = result.training.num_updates if stage == "Evaluating random" else 1
    assert [point.step for point in result.curve] == [per_update * (1 + update) for update in range(updates)]
    assert len(result.tuning.rounds) == (1 if stage == "Tuning static" else 2)
    record = read_record(tmp_path / "demo")
    assert record is not None and record.state == "completed" and (tmp_path / "demo" / "results.json").is_file()


@pytest.mark.parametrize("stage", [*STAGES[:3], "Evaluating random"])
def test_a_demonstration_that_is_to_cancel_ends(config: DemoConfig, tmp_path: Path, stage: str) -> None:
    control = StopInStage(stage, "cancel")
    with pytest.raises(RunCancelledError):
        run_demo(config, tmp_path / "demo", progress=control, stop=control.stop)
    assert control.stages == STAGES[: 1 + STAGES.index(stage)]
    record = read_record(tmp_path / "demo")
    assert record is not None and record.state == "cancelled" and not (tmp_path / "demo" / "results.json").exists()
