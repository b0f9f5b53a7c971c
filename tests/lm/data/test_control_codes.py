import math

import numpy as np
import pytest
import torch

from lm.data.control_code_config import ControlCodeConfig
from lm.data.control_codes import ControlCodes, segment_statistics
from lm.errors import InvalidValueError
from lm.models.gate_names import NEUTRAL_GATES


def test_segment_statistics_by_hand():
    surprisal = torch.tensor([1.0, 2.0, 4.0, 8.0])
    segments = torch.tensor([[0, 1, 0, 0], [0, 1, 2, 3]])
    statistics = segment_statistics(segments, surprisal)
    # row 0: mean of 1 2 1 1; re-uses at distances 2 and 1; two different tokens of four. Row 1: nothing recurs.
    expected = [[1.25, -math.log(2) / 2, 0.5], [3.75, -math.log(4), 1.0]]
    torch.testing.assert_close(statistics, torch.tensor(expected))


@pytest.fixture
def codes():
    tokens = np.random.default_rng(0).zipf(1.3, size=20_000).clip(max=99).astype(np.uint16)
    return tokens, ControlCodes(tokens, 100, ControlCodeConfig(segment_length=16), seed=0)


def test_signals_are_percentiles_with_neutral_in_the_middle(codes):
    tokens, make = codes
    windows = torch.from_numpy(tokens[: 32 * 300].astype(np.int64)).view(300, 32)
    signals = make.signals(windows)
    assert signals.shape == (300, 2, 3) and signals.min() >= 0 and signals.max() <= 1
    assert signals[..., 0].mean().item() == pytest.approx(0.5, abs=0.03)
    assert signals[..., 0].std().item() == pytest.approx(1 / math.sqrt(12), abs=0.03)  # uniform
    assert (signals[..., 1:] == 0).float().mean().item() == pytest.approx(
        0.5, abs=0.1
    )  # the lower half asks for nothing
    common, rare = torch.ones(1, 16, dtype=torch.int64), torch.arange(80, 96)[None]
    assert make.signals(common)[0, 0].tolist()[0] < 0.05
    assert make.signals(rare)[0, 0, 0] > 0.95 and make.signals(rare)[0, 0, 2] == pytest.approx(1.0, abs=0.01)


def test_half_of_the_batches_carry_signals_and_half_of_those_are_neutral(codes):
    tokens, make = codes
    batches = [
        make([{"input_ids": torch.from_numpy(tokens[i : i + 32].astype(np.int64))} for i in range(j, j + 8 * 32, 32)])
        for j in range(0, 4000, 20)
    ]
    with_signals = [batch["gate_signals"] for batch in batches if "gate_signals" in batch]
    assert len(with_signals) / len(batches) == pytest.approx(0.5, abs=0.12)
    is_neutral = torch.stack([(s == torch.tensor(NEUTRAL_GATES)).all(dim=1).float().mean(dim=0) for s in with_signals])
    assert is_neutral.mean(dim=0)[0].item() == pytest.approx(0.5, abs=0.08)
    again = make([{"input_ids": row} for row in batches[0]["input_ids"]])
    assert again.keys() == batches[0].keys()  # a batch decides by itself: resuming changes nothing


def test_segments_must_fill_the_window(codes):
    with pytest.raises(InvalidValueError, match="`segment_length` must divide the window length \\(40\\). Received 16"):
        codes[1].signals(torch.zeros(2, 40, dtype=torch.int64))
