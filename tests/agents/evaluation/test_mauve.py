from __future__ import annotations

import numpy as np
import pytest
from scipy.special import beta

from agents.evaluation.mauve import mauve, quantize


def test_equal_and_disjoint_histograms() -> None:
    assert mauve(np.array([0.1, 0.9, 0.0]), np.array([0.1, 0.9, 0.0])) == pytest.approx(1.0)
    # Disjoint: KL(q, r) = -log(1 - w), KL(p, r) = -log w, so the curve is ((1 - w)⁵, w⁵) and its area 5 B(6, 5).
    area = 5 * beta(6, 5)
    assert mauve(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(area, rel=0.03)  # 25 trapezoids


def test_golden_value() -> None:
    """Computed with the curve and the area of the authors' `mauve-text` 0.4.0."""
    assert mauve(np.array([0.5, 0.5, 0.0]), np.array([0.2, 0.3, 0.5])) == pytest.approx(0.2712187946812259, abs=1e-12)
    assert mauve(np.array([0.2, 0.3, 0.5]), np.array([0.5, 0.5, 0.0])) == pytest.approx(0.2712187946812259, abs=1e-12)


def test_clusters_that_are_plain_to_see() -> None:
    generator = np.random.default_rng(1)
    centres = np.eye(8)[:4] * 10
    kinds = generator.integers(0, 4, 90)
    features = centres[kinds] + generator.normal(scale=0.1, size=(90, 8))
    first, second = quantize(features[:50], features[50:], 4)
    assert (len(first), len(second)) == (50, 40)
    labels = np.concatenate((first, second))
    assert all(len(set(labels[kinds == kind])) == 1 for kind in range(4))
    assert len(set(labels)) == 4


def test_the_same_seed_gives_the_same_clusters() -> None:
    features = np.random.default_rng(0).normal(size=(80, 16)).astype(np.float32)
    first, again = quantize(features[:40], features[40:], 6, seed=3), quantize(features[:40], features[40:], 6, seed=3)
    np.testing.assert_array_equal(first, again)
