"""Saves and restores the state of a vector environment's episodes, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lm.runs.tensors.saved_state import SavedState, write_into

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


def state_of(env: TidalGatingVectorEnv) -> SavedState:
    """State of the running episodes and of each row's generator; save it before the next step.

    Most of its size is the KV caches of both streams.
    """
    generators = [generator.bit_generator.state for generator in env.episodes.generators]
    return SavedState(env.state(), {"generators": generators})


@torch.inference_mode()
def restore(env: TidalGatingVectorEnv, state: SavedState) -> None:
    """Restores the episodes.

    Args:
        env: environment made with the same arguments, after a reset.
        state: result of :func:`state_of`.

    Raises:
        KeyError, ValueError: the state does not fit the environment.
    """
    write_into(env.state(), state.tensors)
    for generator, saved in zip(env.episodes.generators, state.values["generators"], strict=True):
        generator.bit_generator.state = saved
