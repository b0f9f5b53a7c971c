import math

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from lm.errors import InvalidValueError
from lm.evaluation.scoring import score_tokens, summarize


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=12)).eval()


def test_each_token_is_scored_once_as_alone(model):
    random = np.random.default_rng(0)
    documents = [random.integers(0, 30, size) for size in (2, 12, 5, 1)]
    scores = score_tokens(model, documents, context_length=12, batch_size=3, top_k=2)
    for ids, score in zip(documents, scores, strict=True):
        with torch.no_grad():
            log_probs = model(torch.from_numpy(ids)[None]).logits[0].double().log_softmax(dim=-1)[:-1]
        expected = -log_probs[range(len(ids) - 1), ids[1:]]
        np.testing.assert_allclose(score.surprisal, expected, atol=1e-5)
        np.testing.assert_allclose(score.entropy, -(log_probs.exp() * log_probs).sum(dim=-1), atol=1e-5)
        assert score.token_ids.tolist() == ids[1:].tolist()
        assert score.top_ids.tolist() == log_probs.topk(2).indices.tolist()


def test_a_long_document_is_scored_from_at_least_half_a_context(model):
    ids = np.random.default_rng(1).integers(0, 30, 31)
    score = score_tokens(model, [ids], context_length=12)[0]
    starts = {12: 6, 18: 12, 24: 18, 30: 24}  # first target of a window -> where the window starts
    for target in range(1, 31):
        first = max((first for first in starts if first <= target), default=None)
        start = 0 if first is None else starts[first]
        with torch.no_grad():
            logits = model(torch.from_numpy(ids[start:target])[None]).logits[0, -1].double()
        assert score.surprisal[target - 1] == pytest.approx(-logits.log_softmax(-1)[ids[target]].item(), abs=1e-5)


def test_bits_per_byte_by_hand(model):
    scores = score_tokens(model, [np.array([0, 1, 2, 3])], context_length=12)
    summary = summarize(scores, num_bytes=8)
    nats = float(scores[0].surprisal.sum())
    assert summary.bits_per_byte == pytest.approx(nats / (math.log(2) * 8), rel=1e-6)
    assert summary.perplexity == pytest.approx(math.exp(nats / 3), rel=1e-6)
    with pytest.raises(InvalidValueError, match="`text` must hold at least one token"):
        summarize([], num_bytes=0)
