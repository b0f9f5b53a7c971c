from __future__ import annotations

import numpy as np

from tidal_gym.envs.infos import masked, of_step


def test_the_step_s_own_infos_whether_its_rows_are_over_or_not() -> None:
    is_over = np.array([True, False])
    infos = masked({"entropy": np.array([1.0, 2.0])}, ~is_over) | {"pair": np.array([[0, 0], [3, 4]])}
    infos["final_info"] = masked({"entropy": np.array([1.0, 2.0])}, is_over) | {"pair": np.array([[1, 2], [0, 0]])}
    assert infos["entropy"].tolist() == [0.0, 2.0]
    assert of_step(infos, "entropy", is_over).tolist() == [1.0, 2.0]
    assert of_step(infos, "pair", is_over).tolist() == [[1, 2], [3, 4]]


def test_infos_that_lie_in_one_place_only() -> None:
    nobody, everybody = np.zeros(2, bool), np.ones(2, bool)
    values = {"token": np.array([5, 6])}
    assert of_step(masked(values, everybody), "token", nobody).tolist() == [5, 6]
    assert of_step({"final_info": masked(values, everybody)}, "token", everybody).tolist() == [5, 6]
