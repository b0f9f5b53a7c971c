"""Steps whose token a logits processor draws, beside steps under gates."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from transformers import LogitsProcessorList, TopKLogitsWarper

from lm.decoding.logits_processors import MirostatV2LogitsProcessor
from tests.tidal_gym.conftest import VOCABULARY
from tidal_gym.wrappers.carl_reward import VectorCarlReward

SEED = 5
NOTHING = LogitsProcessorList()


def assert_same_step(ours, theirs) -> None:
    for left, right in zip(ours[:4], theirs[:4], strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
    np.testing.assert_array_equal(ours[4]["token"], theirs[4]["token"])
    np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("processor", "top_k"), [(NOTHING, VOCABULARY), (TopKLogitsWarper(40), 40)])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_equals_the_neutral_action(make_env, processor, top_k: int, mode: AutoresetMode) -> None:
    ours, theirs = (make_env(4, dtype="float64", modulation={"top_k": top_k}, autoreset_mode=mode) for _ in range(2))
    ours.reset(seed=SEED), theirs.reset(seed=SEED)
    ends = 0
    for _ in range(30):
        stepped = ours.step_with(processor)
        assert_same_step(stepped, theirs.step(np.tile(theirs.neutral_action, (4, 1))))
        ends += int((stepped[2] | stepped[3]).sum())
    assert ends >= 6
    assert ours.token_ids() == theirs.token_ids()


def test_gated_steps_may_follow(make_env) -> None:
    """They read what came before as if under neutral gates; the oracle's question too."""
    ours, theirs = (make_env(4, dtype="float64", modulation={"top_k": VOCABULARY}) for _ in range(2))
    ours.reset(seed=SEED), theirs.reset(seed=SEED)
    for _ in range(3):
        assert_same_step(ours.step_with(NOTHING), theirs.step(np.tile(theirs.neutral_action, (4, 1))))
    gates = np.random.default_rng(0).random((4, 3), dtype=np.float32)
    np.testing.assert_allclose(ours.expected_rewards(gates), theirs.expected_rewards(gates), atol=1e-12)
    ours.step_with(NOTHING), theirs.step(np.tile(theirs.neutral_action, (4, 1)))
    for _ in range(5):
        assert_same_step(ours.step(gates), theirs.step(gates))


def test_a_processor_sees_the_text_and_the_neutral_logits(make_env) -> None:
    env = make_env(3, dtype="float64")
    env.reset(seed=SEED)
    seen = []

    def look(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        seen.append((input_ids.clone(), scores.clone()))
        return scores.fill_(0.0)  # it may write into them

    for _ in range(3):
        texts = [ids[1:] for ids in env.token_ids()]  # without the special prefix
        p = env._generation.streams.latest.logits.clone()
        infos = env.step_with(look)[4]
        input_ids, scores = seen[-1]
        torch.testing.assert_close(scores, p)
        for row, text in enumerate(texts):
            padding = input_ids.shape[1] - len(text)
            assert input_ids[row].tolist() == [text[0]] * padding + text
        np.testing.assert_allclose(infos["entropy"], np.log(VOCABULARY))
        expected = p.log_softmax(dim=1)[range(3), infos["token"]]
        np.testing.assert_allclose(infos["log_prob"], expected)
        assert np.isnan(infos["temperature"]).all() and np.isnan(infos["penalty"]).all()


def test_rows_that_begin_anew_meet_a_fresh_mirostat(make_env) -> None:
    """One processor through all episodes of four rows, against a fresh one for every episode of each row alone."""
    arguments = {"dtype": "float64", "max_episode_steps": 12}
    together = make_env(4, autoreset_mode=AutoresetMode.SAME_STEP, **arguments)
    together.reset(seed=SEED)
    processor = MirostatV2LogitsProcessor(tau=3.0, eta=0.8)
    drawn: list[list[int]] = [[], [], [], []]
    ends = np.zeros(4, int)
    for _ in range(30):
        _, _, terminations, truncations, infos = together.step_with(processor)
        is_over = terminations | truncations
        ends += is_over
        for row in range(4):
            source = infos["final_info"] if is_over[row] else infos
            drawn[row].append(int(source["token"][row]))
    assert ends.min() >= 2
    assert len(set(ends.tolist())) > 1
    for row in range(4):
        alone = make_env(1, autoreset_mode=AutoresetMode.DISABLED, **arguments)
        alone.reset(seed=SEED + row)
        processor, tokens = MirostatV2LogitsProcessor(tau=3.0, eta=0.8), []
        while len(tokens) < 30:
            _, _, terminations, truncations, infos = alone.step_with(processor)
            tokens.append(int(infos["token"][0]))
            if terminations[0] or truncations[0]:
                alone.reset(options={"reset_mask": np.array([True])})
                processor = MirostatV2LogitsProcessor(tau=3.0, eta=0.8)
        assert tokens == drawn[row]


def test_coherence_is_paid_too(make_env) -> None:
    make = {"dtype": "float64", "autoreset_mode": AutoresetMode.SAME_STEP}
    paid, plain = VectorCarlReward(make_env(3, **make)), make_env(3, **make)
    paid.reset(seed=SEED), plain.reset(seed=SEED)
    for _ in range(15):
        ours, theirs = paid.step_with(NOTHING), plain.step_with(NOTHING)
        infos = ours[4]
        is_over = ours[2] | ours[3]
        payment = infos.get("reward_carl", np.zeros(3)).copy()
        if is_over.any():
            payment[is_over] = infos["final_info"]["reward_carl"][is_over]
        np.testing.assert_array_equal(ours[2], theirs[2])
        assert (payment != 0).any()
        np.testing.assert_allclose(ours[1], paid._account.total(theirs[1], payment))


def test_needs_a_reset_first(make_env) -> None:
    with pytest.raises(gymnasium.error.ResetNeeded, match="Call `reset` before `step`"):
        make_env().step_with(NOTHING)
