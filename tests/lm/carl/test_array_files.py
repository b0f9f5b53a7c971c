"""Arrays in other byte orders and types: converted where nothing is lost but digits, else refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from lm.carl.array_files import load_array
from lm.carl.field import compute_phi
from lm.errors import InvalidValueError

LOGITS = np.random.default_rng(0).normal(size=(4, 7))


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.longdouble, np.float16])
def test_floats_of_any_order_and_length_are_read(tmp_path, dtype):
    np.save(tmp_path / "logits.npy", LOGITS.astype(dtype))
    phi, _ = compute_phi(load_array(tmp_path / "logits.npy", "logits"))
    expected, _ = compute_phi(LOGITS)
    np.testing.assert_allclose(phi, expected, atol=2e-3 if dtype is np.float16 else 1e-6)


@pytest.mark.parametrize("array", [LOGITS.astype(complex), np.array(["a"]), np.zeros(2, "datetime64[D]"),
                                   np.zeros(2, [("a", float)]), np.array([None])])  # fmt: skip
def test_what_is_no_number_is_refused(tmp_path, array):
    np.savez(tmp_path / "arrays.npz", logits=array)
    with pytest.raises(InvalidValueError, match=r"`file` must hold arrays of numbers"):
        load_array(tmp_path / "arrays.npz", "logits")
