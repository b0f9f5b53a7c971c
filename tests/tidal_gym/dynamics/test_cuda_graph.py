"""What a CUDA graph needs of a step holds on any device; the recording itself is tested where there is a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tidal_gym.envs.rlm.vector_env import TidalRLMVectorEnv

ASKS_THE_DEVICE = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh")
"""Operators that bring a number to the CPU, give a shape that depends on data, or bring a constant to the device."""


class Operators(TorchDispatchMode):
    """Writes down every operator with the shapes of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        shapes = [tuple(tensor.shape) for tensor in torch.utils._pytree.tree_leaves(args) if torch.is_tensor(tensor)]
        self.calls.append((str(func), *shapes))
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=["tidal", "judge", "grammar"])
def env_arguments(request, gated_folder):
    """Of an environment whose reward knows nobody else, has a language model as its judge, or a grammar."""
    return {
        "tidal": {},
        "judge": {"reward": "judge", "judge": gated_folder},
        "grammar": {"kind": TidalRLMVectorEnv, "model": "rlm-tiny", "prompts": "train", "reward": "judge"},
    }[request.param]


def test_a_step_has_fixed_shapes_and_asks_the_device_nothing(make_env, env_arguments):
    env = make_env(3, autoreset_mode="SameStep", **env_arguments)
    env.reset(seed=0)
    recorded = []
    for step in range(8):  # to the end of a sentence
        with Operators() as operators, torch.inference_mode():
            env._transition(torch.rand(3, 3), torch.rand(3))
        recorded.append(operators.calls)
        assert not [call for call in operators.calls if any(name in call[0] for name in ASKS_THE_DEVICE)]
        env.reset(seed=step, options={"reset_mask": np.array([True, False, True])})
    assert len(recorded[0]) > 100
    assert all(calls == recorded[0] for calls in recorded[1:])


def test_a_step_writes_to_the_same_memory_every_time(make_env):
    env = make_env(3)
    env.reset(seed=0)
    with torch.inference_mode():
        env._transition(torch.rand(3, 3), torch.rand(3))
        latest = env._generation.streams.latest
        places = [tensor.data_ptr() for tensor in latest]
        env.reset(seed=1)
        env._transition(torch.rand(3, 3), torch.rand(3))
    assert [tensor.data_ptr() for tensor in env._generation.streams.latest] == places


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_recording_equals_the_function(make_env, env_arguments):
    arguments = {"device": "cuda", "dtype": "float64", "autoreset_mode": "SameStep", **env_arguments}
    recorded, plain = (make_env(4, **arguments) for _ in range(2))
    assert recorded._step_on_device is not recorded._transition
    plain._step_on_device = plain._transition
    recorded.reset(seed=0), plain.reset(seed=0)
    for actions in np.random.default_rng(0).random((40, 4, 3)):
        for left, right in zip(recorded.step(actions)[:4], plain.step(actions)[:4], strict=True):
            np.testing.assert_allclose(left, right, rtol=0, atol=1e-9)
        assert recorded.token_ids() == plain.token_ids()
