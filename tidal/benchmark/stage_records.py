"""Checks of stages' results that go beyond their types: a stage's file may have been damaged or edited."""

from __future__ import annotations

from collections.abc import Mapping

from agents.evaluation.evaluation import Evaluation
from lm.errors import CheckpointError
from lm.models.gate_names import GATE_NAMES
from tidal.stages.stage_results import StageResults


def read_evaluation(stages: StageResults, stage: str, episodes: int) -> Evaluation:
    """The evaluation of an agent in so many episodes.

    Raises:
        CheckpointError: the stage's file is damaged, or holds something else.
    """
    evaluation = stages.record(stage, Evaluation)
    require_gates(stage, "gates", evaluation.gates)
    require_episodes(stage, "returns", evaluation.returns, episodes)
    return evaluation


def require_gates(stage: str, field: str, found: Mapping[str, object]) -> None:
    """Raises CheckpointError unless a field of a stage's result has a value for each gate and nothing else."""
    if found.keys() != set(GATE_NAMES):
        received = ", ".join(found) or "nothing"
        raise _damaged(stage, f"`{field}` must hold {', '.join(GATE_NAMES)}. Received {received}.")


def require_episodes(stage: str, field: str, returns: tuple[float, ...], episodes: int) -> None:
    """Raises CheckpointError unless a field of a stage's result has a return for each episode."""
    if len(returns) != episodes:
        raise _damaged(stage, f"`{field}` must have {episodes} entries. Received {len(returns)}.")


def _damaged(stage: str, why: str) -> CheckpointError:
    return CheckpointError(f"The result of the stage '{stage}' is damaged: {why}")
