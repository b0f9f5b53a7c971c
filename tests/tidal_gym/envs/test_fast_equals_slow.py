"""The fast environment against the slow one over many episodes: uneven prompts, rows that begin anew at any step.

In float64 both draw for themselves, and the tokens must be equal. In the other types a rounding may turn a draw, so
the slow one reads the tokens that the fast one drew, and the numbers must be close.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lm.models.bundle import load_bundle
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig
from tests.tidal_gym.conftest import VOCABULARY
from tests.tidal_gym.slow_environment import SlowEpisode
from tidal_gym.dynamics.observation import OBSERVATION_NAMES

ROWS, STEPS, LIMIT = 3, 30, 12
TOLERANCES = {"float64": 2e-6, "float32": 1e-4, "bfloat16": 0.15}


@pytest.fixture(scope="module", params=[("rotary", 2, 3), ("learned", 3, 2)], ids=["rotary", "learned"])
def folder(request, save_model):
    """Two models that share nothing but their vocabulary; their texts end every few tokens."""
    positions, heads, blocks = request.param
    config = GatedTransformerConfig(
        vocab_size=VOCABULARY,
        hidden_size=12 * heads * heads,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        intermediate_size=40,
        max_position_embeddings=64,
        position_embedding_type=positions,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GatedTransformer(config)
    with torch.no_grad():
        model.lm_head.bias[0] = 4.0
    return save_model(model, seed=blocks, scale=0.25)


@pytest.mark.parametrize("dtype", list(TOLERANCES))
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_many_episodes_equal_the_slow_environment(make_env, folder, dtype, mode):
    env = make_env(ROWS, model=folder, dtype=dtype, autoreset_mode=mode, max_episode_steps=LIMIT)
    exact = load_bundle(folder, dtype="float64")
    observations, _ = env.reset(seed=7)

    def begin(row: int) -> SlowEpisode:
        return SlowEpisode(exact, [0], env.token_ids()[row][1:], env.episodes.uniforms[row].copy(), LIMIT)

    episodes = [begin(row) for row in range(ROWS)]
    tolerance, ended, was_over = TOLERANCES[dtype], 0, np.zeros(ROWS, bool)
    for actions in np.random.default_rng(3).random((STEPS, ROWS, 3)).astype(np.float32):
        for row in np.flatnonzero(~was_over):
            expected = episodes[row].observation()
            wrong = [
                name
                for name, far in zip(OBSERVATION_NAMES, np.abs(observations[row] - expected) > tolerance, strict=True)
                if far
            ]
            assert not wrong, (row, wrong)
        observations, rewards, terminations, truncations, infos = env.step(actions)
        is_over = terminations | truncations
        for row in range(ROWS):
            if was_over[row]:  # NEXT_STEP: this step only began the row anew
                episodes[row] = begin(row)
                continue
            info = infos["final_info"] if mode == "SameStep" and is_over[row] else infos
            token = int(info["token"][row])
            drawn, terms = episodes[row].step(actions[row].astype(np.float64), None if dtype == "float64" else token)
            assert drawn == token
            total = np.dot(
                [0.4, 0.3, 0.2, 0.1], [terms[n] for n in ("perplexity", "diversity", "repetition", "coherence")]
            )
            assert rewards[row] == pytest.approx(total, abs=tolerance)
            if is_over[row]:
                ended += 1
                if mode == "SameStep":
                    last = episodes[row].observation()
                    np.testing.assert_allclose(infos["final_obs"][row], last, rtol=0, atol=tolerance)
                    episodes[row] = begin(row)
        was_over = is_over if mode == "NextStep" else np.zeros(ROWS, bool)
    assert ended >= 2 * ROWS
