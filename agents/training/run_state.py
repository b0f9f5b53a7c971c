"""State of a training run other than weights, optimizers and running statistics."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize, unwrap_vec_wrapper

from agents.training.constrained_ppo.ppo_lagrangian import PPOLagrangian
from lm.runs.tensors.saved_state import SavedState, random_state, restore_random_state
from tidal_gym.envs import env_state
from tidal_gym.envs.vector_env import TidalGatingVectorEnv


def state_of(ppo: PPO, normalization: VecNormalize, vector_env: TidalGatingVectorEnv) -> SavedState:
    """State between two rollouts: running episodes, their state in wrappers and SB3, and global generators."""
    return SavedState.of_parts(
        # Other environments cannot save their episodes: a resumed run begins new ones.
        env=env_state.state_of(vector_env) if _is_gating(vector_env) else SavedState(),
        wrappers=_of_arrays(normalization, "returns", "old_obs"),
        monitor=_of_arrays(_monitor_of(normalization), "episode_returns", "episode_lengths"),
        # Without them SB3 resets the env, as after a warm start.
        ppo=SavedState() if ppo._last_obs is None else _of_arrays(ppo, "_last_obs", "_last_episode_starts"),
        constraint=_of_arrays(ppo, "running_costs") if isinstance(ppo, PPOLagrangian) else SavedState(),
        counts=SavedState(values={"updates": ppo._n_updates, "episodes": _episodes(ppo)}),
        random=random_state(),
    )


def restore(state: SavedState, ppo: PPO, normalization: VecNormalize, vector_env: TidalGatingVectorEnv) -> None:
    """Restores the state into a run of the same configuration after a reset.

    Raises:
        KeyError, ValueError, RuntimeError: the state does not fit the run.
    """
    if _is_gating(vector_env):
        env_state.restore(vector_env, state.part("env"))
    _restore_arrays(normalization, state.part("wrappers"))
    _restore_arrays(_monitor_of(normalization), state.part("monitor"))
    _restore_arrays(ppo, state.part("ppo"))
    _restore_arrays(ppo, state.part("constraint"))
    counts = state.part("counts").values
    ppo._n_updates = counts["updates"]
    if counts["episodes"] is not None:
        ppo.ep_info_buffer = deque(counts["episodes"], maxlen=ppo._stats_window_size)
        ppo.ep_success_buffer = deque(maxlen=ppo._stats_window_size)
    restore_random_state(state.part("random"))


def _monitor_of(normalization: VecNormalize) -> VecMonitor:
    monitor = unwrap_vec_wrapper(normalization, VecMonitor)
    assert monitor is not None
    return monitor


def _episodes(ppo: PPO) -> list[dict[str, float]] | None:
    """Statistics of the last episodes, whose means are logged to TensorBoard."""
    if ppo.ep_info_buffer is None:
        return None
    return [{key: float(number) for key, number in episode.items()} for episode in ppo.ep_info_buffer]


def _of_arrays(owner: Any, *names: str) -> SavedState:
    return SavedState({name: torch.from_numpy(np.asarray(getattr(owner, name))) for name in names})


def _restore_arrays(owner: Any, state: SavedState) -> None:
    for name, tensor in state.tensors.items():
        array: NDArray[Any] = tensor.numpy().copy()
        setattr(owner, name, array)


def _is_gating(vector_env: VectorEnv) -> bool:
    return isinstance(vector_env.unwrapped, TidalGatingVectorEnv)
