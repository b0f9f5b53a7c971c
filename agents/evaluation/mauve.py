"""MAUVE: how near the distribution of generated texts is to that of human texts, from features of both.

Source: Pillutla et al. 2021 (arXiv:2102.01454). The choices are those of the authors' package `mauve-text`, which
brings two libraries for these few lines and gives no histograms, from which texts could be left out again.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2, vq
from scipy.special import rel_entr

SCALE = 5.0
"""c of the curve, by which divergences [nats] count."""
EXPLAINED_VARIANCE = 0.9
"""Share of the features' variance that the clustering sees."""
ATTEMPTS = 5
"""Starts of the clustering, of which the tightest is taken."""


def quantize(
    first: NDArray[np.floating], second: NDArray[np.floating], num_clusters: int, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Clusters of two sets of features, found together: unit length, principal components, k-means.

    Args:
        first: (M, D).
        second: (N, D).
        num_clusters: K; the paper takes a tenth of the texts of a set.
        seed: of the k-means++ starts.

    Returns:
        (M,) and (N,) clusters, from 0.
    """
    features = np.concatenate((first, second)).astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features -= features.mean(axis=0)
    _, scales, directions = np.linalg.svd(features, full_matrices=False)
    explained = np.cumsum(scales**2) / np.sum(scales**2)
    points = features @ directions[: int(np.argmax(explained >= EXPLAINED_VARIANCE)) + 1].T
    generator = np.random.default_rng(seed)
    attempts = []
    for _ in range(ATTEMPTS):
        with warnings.catch_warnings():  # of a cluster that runs empty, which is no harm: both histograms have 0 there
            warnings.simplefilter("ignore", UserWarning)
            centres, _ = kmeans2(points, num_clusters, iter=50, minit="++", rng=generator)
        labels, distances = vq(points, centres)
        attempts.append((float((distances**2).sum()), labels))
    labels = min(attempts, key=lambda attempt: attempt[0])[1].astype(np.int64)
    return labels[: len(first)], labels[len(first) :]


def mauve(p: NDArray[np.floating], q: NDArray[np.floating]) -> float:
    """Area under the divergence curve of two histograms (K,) that sum to 1; in (0, 1], 1 where they are equal.

    The curve holds exp(−c KL(q ‖ r)) and exp(−c KL(p ‖ r)) for the mixtures r = w p + (1 − w) q, 25 weights w between 0
    and 1, and ends on the axes. It is integrated by trapezoids along both axes, and the mean taken.
    """
    weights = np.linspace(1e-6, 1 - 1e-6, 25)[:, None]
    mixtures = weights * p + (1 - weights) * q  # (25, K)
    x = np.exp(-SCALE * rel_entr(q, mixtures).sum(axis=1))
    y = np.exp(-SCALE * rel_entr(p, mixtures).sum(axis=1))
    x, y = np.concatenate(([1.0], x, [0.0])), np.concatenate(([0.0], y, [1.0]))  # x falls, y rises
    return float(0.5 * (np.trapezoid(y[::-1], x[::-1]) + np.trapezoid(x, y)))
