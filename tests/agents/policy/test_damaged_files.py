from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from agents.training.learning_curve import read_learning_curve
from lm.errors import CheckpointError, InvalidValueError, ModelFolderError
from lm.models.reference_statistics import ReferenceStatistics
from tidal_gym.rewards.rewards import RewardReference, make_reward


@pytest.mark.parametrize("line", ["{}", "[]", "3", '{"step": "x"}'])
def test_damaged_curves_are_named_with_their_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "curve.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"curve\.jsonl, line 1, is damaged"):
        read_learning_curve(path)


@pytest.mark.parametrize("lacking", ["human_entropy", "bigram_counts"])
def test_statistics_that_lack_something_are_named(tmp_path: Path, lacking: str) -> None:
    path = tmp_path / "statistics.safetensors"
    ReferenceStatistics.from_tokens(np.arange(9), 10, human_entropy=2.0).save(path)
    arrays = load_file(path)
    for damaged in (
        {name: array for name, array in arrays.items() if name != lacking},
        arrays | {lacking: arrays[lacking][:0]},
    ):
        save_file(damaged, path)
        with pytest.raises(ModelFolderError, match="does not hold reference statistics"):
            ReferenceStatistics.load(path)


def test_a_reward_that_cannot_be_called_is_refused() -> None:
    statistics = ReferenceStatistics.from_tokens(np.arange(9), 10, human_entropy=2.0)
    with pytest.raises(InvalidValueError, match="it cannot be called"):
        make_reward("math:pi", RewardReference(statistics, 10, 2.0), None)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bigram_row_lengths", np.full(10, 2**32 - 1, np.uint32), "not one or more pairs with a count each"),
        ("bigram_row_lengths", np.ones(9, np.uint32), "not one or more pairs with a count each"),
        ("bigram_columns", np.full(8, 10, np.uint16), "hold the token 10, of a vocabulary of 10"),
        ("bigram_counts", np.ones(8, np.float32), "`bigram_counts` must hold numbers of type U16 or U32, not F32"),
        ("unigram_counts", np.ones((2, 5), np.uint32), r"`unigram_counts` must have 1 dimensions.* shape \(2, 5\)"),
        ("human_entropy", np.array([np.nan]), "its human entropy is nan"),
    ],
)
def test_statistics_that_do_not_fit_together_are_named(
    tmp_path: Path, name: str, value: np.ndarray, message: str
) -> None:
    path = tmp_path / "statistics.safetensors"
    ReferenceStatistics.from_tokens(np.arange(9), 10, human_entropy=2.0).save(path)
    save_file(load_file(path) | {name: value}, path)
    with pytest.raises(ModelFolderError, match=message):
        ReferenceStatistics.load(path)
