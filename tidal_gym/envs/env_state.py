"""Where a vector environment stands in its episodes, so that another process can go on from there, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lm.runs.saved_state import SavedState, write_into

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


def state_of(env: TidalGatingVectorEnv) -> SavedState:
    """The episodes under way, and what each row's generator will draw: to be saved before the next step.

    Its size is mostly that of the streams' caches: keys and values of every layer, row and token, twice over.
    """
    generators = [generator.bit_generator.state for generator in env.row_generators]
    return SavedState(env.state(), {"generators": generators})


@torch.inference_mode()
def restore(env: TidalGatingVectorEnv, state: SavedState) -> None:
    """Take the episodes up.

    Args:
        env: made with the same arguments, and reset.
        state: of :func:`state_of`.

    Raises:
        KeyError, ValueError: the state is that of another environment.
    """
    write_into(env.state(), state.tensors)
    for generator, saved in zip(env.row_generators, state.values["generators"], strict=True):
        generator.bit_generator.state = saved
