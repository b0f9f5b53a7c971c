"""MAUVE: similarity of the distributions of generated and human texts, from features of both.

Source: Pillutla et al. 2021 (arXiv:2102.01454). Details follow the authors' package `mauve-text`, which is not used
because it needs two more libraries and does not return the histograms, which the jackknife needs.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2, vq
from scipy.special import rel_entr

SCALE = 5.0
"""Scaling c of the divergences [nats] in the curve."""
EXPLAINED_VARIANCE = 0.9
"""Share of the features' variance that the principal components keep for the clustering."""
ATTEMPTS = 5
"""Number of k-means starts; the one with the lowest inertia is used."""


def quantize(
    first: NDArray[np.floating], second: NDArray[np.floating], num_clusters: int, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Joint clustering of two sets of features: normalisation to unit length, principal components, k-means.

    Args:
        first: (M, D) features.
        second: (N, D) features.
        num_clusters: K; the paper uses a tenth of the texts of a set.
        seed: seed of the k-means++ starts.

    Returns:
        (M,) and (N,) cluster indices, from 0.
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
        with warnings.catch_warnings():  # warnings of empty clusters, which are harmless: both histograms are 0 there
            warnings.simplefilter("ignore", UserWarning)
            centres, _ = kmeans2(points, num_clusters, iter=50, minit="++", rng=generator)
        labels, distances = vq(points, centres)
        attempts.append((float((distances**2).sum()), labels))
    labels = min(attempts, key=lambda attempt: attempt[0])[1].astype(np.int64)
    return labels[: len(first)], labels[len(first) :]


def mauve(p: NDArray[np.floating], q: NDArray[np.floating]) -> float:
    """Area under the divergence curve of two histograms (K,) that sum to 1; in (0, 1], 1 where they are equal.

    The curve consists of exp(−c KL(q ‖ r)) and exp(−c KL(p ‖ r)) for the mixtures r = w p + (1 − w) q with 25 weights w
    between 0 and 1, and ends on the axes. The area is the mean of the trapezoidal integrals along both axes.
    """
    weights = np.linspace(1e-6, 1 - 1e-6, 25)[:, None]
    mixtures = weights * p + (1 - weights) * q  # (25, K)
    x = np.exp(-SCALE * rel_entr(q, mixtures).sum(axis=1))
    y = np.exp(-SCALE * rel_entr(p, mixtures).sum(axis=1))
    x, y = np.concatenate(([1.0], x, [0.0])), np.concatenate(([0.0], y, [1.0]))  # x falls, y rises
    return float(0.5 * (np.trapezoid(y[::-1], x[::-1]) + np.trapezoid(x, y)))
