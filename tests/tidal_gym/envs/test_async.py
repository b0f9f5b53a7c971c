"""Environments in worker processes, with torch computing in several threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys
import gymnasium, numpy as np, torch
import tidal_gym

def main(context, threads):
    torch.set_num_threads(threads)
    (torch.randn(600, 600) @ torch.randn(600, 600)).exp().sum()  # torch's threads run before the workers begin
    inside = gymnasium.make_vec("TidalGating-v0", num_envs=1, vectorization_mode="sync", max_episode_steps=4)
    inside.reset(seed=1)
    inside.step(inside.action_space.sample())
    envs = gymnasium.make_vec(
        "TidalGating-v0", num_envs=2, vectorization_mode="async", vector_kwargs={"context": context},
        max_episode_steps=4,
    )
    envs.reset(seed=1)
    for _ in range(3):
        observations, *_ = envs.step(np.full((2, 3), 0.5, np.float32))
    assert observations.shape == (2, 64) and np.isfinite(observations).all()
    envs.close()
    inside.close()
    print("done", torch.get_num_threads())

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
"""


@pytest.mark.parametrize(("context", "threads"), [("fork", 1), ("fork", 2), ("fork", 4), ("spawn", 4)])
def test_async_environments_do_not_hang(tmp_path, context, threads):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), context, str(threads)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"done {threads}\n"
