import math

import pytest
import torch

from lm.decoding.logits_processors import (
    AdapTLogitsProcessor,
    EDTLogitsProcessor,
    MirostatV2LogitsProcessor,
    TopNSigmaLogitsProcessor,
    score_entropy,
)
from lm.errors import InvalidValueError
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig

NO_TEXT = torch.zeros(2, 3, dtype=torch.int64)
NEVER = -math.inf


def kept(scores: torch.Tensor) -> list[list[int]]:
    return [torch.nonzero(row > NEVER).flatten().tolist() for row in scores]


def test_entropy_of_equal_scores() -> None:
    scores = torch.tensor([[2.0, 2.0, NEVER, NEVER], [1.0, 1.0, 1.0, 1.0], [5.0, NEVER, NEVER, NEVER]])
    torch.testing.assert_close(score_entropy(scores), torch.tensor([math.log(2), math.log(4), 0.0]))


def test_edt_by_hand() -> None:
    """Two and four equal tokens have entropies ln 2 and 2 ln 2: with θ = ln 2, T is 0.8 and √0.8."""
    scores = torch.tensor([[2.0, 2.0, NEVER, NEVER], [1.0, 1.0, 1.0, 1.0]])
    processed = EDTLogitsProcessor(1.0, theta=math.log(2))(NO_TEXT, scores)
    torch.testing.assert_close(processed[0, :2], torch.tensor([2.5, 2.5]))
    torch.testing.assert_close(processed[1], torch.full((4,), 1.118034))
    assert kept(processed) == [[0, 1], [0, 1, 2, 3]]
    doubled = EDTLogitsProcessor(2.0, theta=math.log(2))(NO_TEXT, scores)
    torch.testing.assert_close(doubled, processed / 2)


def test_edt_of_a_certain_row_is_greedy_and_theta_zero_a_fixed_temperature() -> None:
    scores = torch.tensor([[500.0, 0.0], [1.0, 0.0]])
    processed = EDTLogitsProcessor(1.0, theta=0.5)(NO_TEXT, scores)
    assert processed.isfinite().all()
    torch.testing.assert_close(processed.softmax(dim=1)[0], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(EDTLogitsProcessor(0.5, theta=0.0)(NO_TEXT, scores), 2 * scores)


def test_adapt_heats_what_begins_a_block() -> None:
    texts = torch.tensor([[1, 2, 7], [7, 7, 1]])
    processed = AdapTLogitsProcessor(2.0, 0.5, block_ends=[7, 9])(texts, torch.tensor([[1.0, 3.0]] * 2))
    torch.testing.assert_close(processed, torch.tensor([[0.5, 1.5], [2.0, 6.0]]))


def test_adapt_heats_what_the_model_is_unsure_of() -> None:
    scores = torch.tensor([[1.0, 1.0, 1.0], [9.0, 0.0, 0.0]])  # entropies 1.10 and 0.002
    processed = AdapTLogitsProcessor(2.0, 0.5, entropy_threshold=1.0)(NO_TEXT, scores)
    torch.testing.assert_close(processed, torch.tensor([[0.5, 0.5, 0.5], [18.0, 0.0, 0.0]]))


@pytest.mark.parametrize(("n_sigma", "expected"), [(0.5, [0]), (1.0, [0, 1]), (2.0, [0, 1, 2]), (2.4, [0, 1, 2, 3])])
def test_top_n_sigma_by_hand(n_sigma: float, expected: list[int]) -> None:
    """Mean 1, squares 9 + 1 + 1 + 9 over 3: σ is 2.582, and the largest logit 4."""
    scores = torch.tensor([[4.0, 2.0, 0.0, -2.0], [-2.0, 4.0, 2.0, 0.0]])
    processor = TopNSigmaLogitsProcessor(n_sigma)
    assert kept(processor(NO_TEXT, scores)) == [expected, sorted((token + 1) % 4 for token in expected)]
    assert kept(processor(NO_TEXT, scores / 3)) == kept(processor(NO_TEXT, scores))


def test_top_n_sigma_uses_only_the_remaining_tokens() -> None:
    """3 and 1 are left: mean 2, σ √2; a row with one token keeps it."""
    scores = torch.tensor([[3.0, 1.0, NEVER], [NEVER, 1.0, NEVER]])
    assert kept(TopNSigmaLogitsProcessor(1.0)(NO_TEXT, scores)) == [[0], [1]]
    assert kept(TopNSigmaLogitsProcessor(1.5)(NO_TEXT, scores)) == [[0, 1], [1]]


SCORES = torch.tensor([[1 / 2, 1 / 4, 1 / 8, 1 / 8]] * 2).log()  # surprises of 1, 2, 3 and 3 bits


def test_mirostat_by_hand() -> None:
    processor = MirostatV2LogitsProcessor(tau=1.25, eta=1.0)
    texts = torch.tensor([[5], [6]])
    assert kept(processor(texts, SCORES)) == [[0, 1], [0, 1]]  # μ is 2.5
    texts = torch.tensor([[5, 1], [6, 0]])  # surprises of 2 and 1: errors of 0.75 and -0.25
    assert kept(processor(texts, SCORES)) == [[0], [0, 1]]
    torch.testing.assert_close(processor.mu, torch.tensor([1.75, 2.75]))
    texts = torch.tensor([[5, 1, 0], [6, 0, 0]])
    assert kept(processor(texts, SCORES)) == [[0, 1], [0, 1, 2, 3]]
    torch.testing.assert_close(processor.mu, torch.tensor([2.0, 3.0]))


def test_mirostat_keeps_the_likeliest_token_at_least() -> None:
    assert kept(MirostatV2LogitsProcessor(tau=0.1)(NO_TEXT, SCORES)) == [[0], [0]]


def test_mirostat_begins_anew_with_the_text() -> None:
    """The second row of a left-padded window begins again; later all do, on request or for another batch."""
    processor = MirostatV2LogitsProcessor(tau=1.25, eta=1.0)
    processor(torch.tensor([[5, 5, 5, 3], [6, 6, 6, 8]]), SCORES)
    processor(torch.tensor([[5, 5, 3, 1], [6, 6, 9, 0]]), SCORES)
    torch.testing.assert_close(processor.mu, torch.tensor([1.75, 2.5]))
    processor(torch.tensor([[5, 3, 1, 0], [6, 9, 0, 0]]), SCORES)
    torch.testing.assert_close(processor.mu, torch.tensor([2.0, 2.75]))
    for other in (torch.tensor([[5], [6]]), torch.tensor([[7, 3], [8, 9]]), torch.tensor([[1, 2, 3, 4, 5, 6]] * 2)):
        processor(other, SCORES)
        torch.testing.assert_close(processor.mu, torch.tensor([2.5, 2.5]))
    processor.reset()
    assert processor.mu is None


def test_mirostat_outlives_rows_that_generate_pads() -> None:
    """A padding token can have been impossible: its row is over, and must not disturb the others."""
    processor = MirostatV2LogitsProcessor(tau=1.25)
    scores = torch.tensor([[0.0, 0.0, NEVER], [1.0, 0.0, 0.0]])
    for length in range(1, 5):
        texts = torch.tensor([[9] + [2] * (length - 1), [9] + [0] * (length - 1)])
        processed = processor(texts, scores)
    assert (processed > NEVER).any(dim=1).all()
    assert processor.mu[1].isfinite()


@pytest.mark.parametrize(
    "processor",
    [
        lambda: EDTLogitsProcessor(1.0, 0.5),
        lambda: AdapTLogitsProcessor(1.5, 0.5, entropy_threshold=1.0),
        lambda: TopNSigmaLogitsProcessor(1.0),
        lambda: MirostatV2LogitsProcessor(3.0),
    ],
)
def test_generate_takes_them(processor) -> None:
    torch.manual_seed(0)
    config = GatedTransformerConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = GatedTransformer(config).eval()
    used = processor()
    texts = []
    for _ in range(2):
        torch.manual_seed(1)
        prompts = torch.tensor([[1, 2, 3], [4, 5, 6]])
        arguments = {"do_sample": True, "top_k": 0, "max_new_tokens": 8, "logits_processor": [used]}
        texts.append(model.generate(prompts, attention_mask=torch.ones_like(prompts), **arguments).tolist())
    assert len(texts[0][0]) == 11
    assert texts[0] == texts[1]  # nothing is left of the first call


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EDTLogitsProcessor(0.0, 0.5), r"^`base_temperature` must be at least 0\.0001 .* Received 0\.0\."),
        (lambda: EDTLogitsProcessor(1.0, -0.1), "^`theta` must be at least 0 and"),
        (lambda: EDTLogitsProcessor(1.0, 0.1, base=1.5), r"^`base` must be in \(0, 1\]"),
        (lambda: AdapTLogitsProcessor(1.0, math.nan, entropy_threshold=1.0), "^`confident_temperature` must be a fin"),
        (lambda: AdapTLogitsProcessor(1.0, 1.0), "^`block_ends` must be given, or else `entropy_threshold`"),
        (lambda: AdapTLogitsProcessor(1.0, 1.0, block_ends=[]), "^`block_ends` must hold at least one token id"),
        (lambda: AdapTLogitsProcessor(1.0, 1.0, entropy_threshold=-1.0), "^`entropy_threshold` must be at least 0"),
        (lambda: TopNSigmaLogitsProcessor(0.0), "^`n_sigma` must be"),
        (lambda: MirostatV2LogitsProcessor(math.inf), "^`tau` must be"),
        (lambda: MirostatV2LogitsProcessor(3.0, 0.0), "^`eta` must be"),
    ],
)
def test_bad_arguments_are_named(make, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        make()
