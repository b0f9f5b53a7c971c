"""Rate of matrix products on this machine, and number of operations of an environment step."""

from __future__ import annotations

import time

import torch

from tidal_gym.envs.vector_env import TidalGatingVectorEnv


def matrix_rate(dtype: torch.dtype, device: str, size: int = 2048) -> float:
    """Operations per second of a large square matrix product, the best of several."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        (left @ right)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def operations_per_env_step(env: TidalGatingVectorEnv) -> float:
    """Operations of both streams for one row: two per weight of every product, and those of attention."""
    config = env.bundle.model.config
    width, slots = config.hidden_size, env._generation.texts()[0].shape[1]
    block = 4 * width**2 + 2 * width * config.intermediate_size
    stream = config.num_hidden_layers * (2 * block + 4 * slots * width) + 2 * width * config.vocab_size
    return 2.0 * stream
