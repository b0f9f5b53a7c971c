import math

import numpy as np
import pytest
import torch

from lm.errors import ModelFolderError
from lm.models.reference_statistics import ReferenceStatistics


@pytest.fixture
def statistics():
    return ReferenceStatistics.from_tokens(np.array([0, 1, 2, 1, 2, 3, 0], dtype=np.uint16), 5, human_entropy=2.5)


def test_counts_by_hand(statistics):
    assert statistics.unigram_counts.tolist() == [2, 2, 2, 1, 0]
    expected = torch.tensor([3, 3, 3, 2, 1]) / 12
    torch.testing.assert_close(statistics.unigram_log_prob().exp(), expected)
    # count(1, 2) = 2, count(2, 1) = 1, count(2, 0) = 0, count(4, .) = 0; V = 5
    previous = torch.tensor([1, 2, 2, 4])
    log_probs = statistics.bigram_log_prob(previous, torch.tensor([2, 1, 0, 4]))
    expected = [math.log(3 / 7), math.log(2 / 7), math.log(1 / 7), math.log(1 / 5)]
    torch.testing.assert_close(log_probs, torch.tensor(expected))
    every = statistics.bigram_log_prob(previous, torch.arange(5).expand(4, 5)).exp().sum(dim=1)
    # token 0 ends the stream once without a successor, every other row sums to 1
    torch.testing.assert_close(every, torch.ones(4))


def test_saves_and_loads(statistics, tmp_path):
    statistics.save(tmp_path / "s.safetensors")
    loaded = ReferenceStatistics.load(tmp_path / "s.safetensors")
    assert loaded.human_entropy == 2.5
    for name in ("unigram_counts", "bigram_keys", "bigram_counts"):
        assert torch.equal(getattr(loaded, name), getattr(statistics, name))


def test_large_counts_survive(tmp_path):
    tokens = np.tile(np.array([1, 2], dtype=np.uint16), 70_000)
    ReferenceStatistics.from_tokens(tokens, 5, human_entropy=1.0).save(tmp_path / "s.safetensors")
    loaded = ReferenceStatistics.load(tmp_path / "s.safetensors")
    assert loaded.bigram_counts.tolist() == [70_000, 69_999]


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_text("nothing of the kind")
    with pytest.raises(ModelFolderError, match="does not hold reference statistics"):
        ReferenceStatistics.load(tmp_path / "x.safetensors")
