from dataclasses import replace

import numpy as np
import pytest

from agents.analysis.prompt_variance import prompt_variance, variance_share
from tests.agents.analysis.test_gate_statistics import episodes_with


def test_components_by_hand() -> None:
    """Groups (1, 3), (5, 7), (9, 11): MSW 2, MSB 2·(16 + 0 + 16)/2 = 32, n₀ 2, so 15 between."""
    share = variance_share(np.array([1.0, 3.0, 5.0, 7.0, 9.0, 11.0]), np.array([0, 0, 1, 1, 2, 2]))
    assert (share.between, share.within) == pytest.approx((15.0, 2.0))
    assert share.share == pytest.approx(15 / 17)
    assert share.low <= share.share <= share.high <= 1.0


def test_uneven_groups() -> None:
    """Groups (0, 2, 4) and (10): MSW 4, mean 4, SSB 3·4 + 36 = 48, n₀ = 4 − 10/4 = 1.5, so (48 − 4)/1.5 between."""
    share = variance_share(np.array([0.0, 2.0, 4.0, 10.0]), np.array([0, 0, 0, 1]))
    assert (share.between, share.within) == pytest.approx((44 / 1.5, 4.0))


def test_known_share_is_found_within_its_interval() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 8)
    values = generator.normal(0, 1, 60)[groups] + generator.normal(0, np.sqrt(3), 480)
    share = variance_share(values, groups)
    assert share.low < 0.25 < share.high and share.high - share.low < 0.3
    nothing = variance_share(generator.normal(0, 1, 480), groups)
    assert nothing.share < 0.1 and nothing.low == 0.0


@pytest.mark.parametrize(("values", "groups"), [([1.0, 2.0], [0, 0]), ([1.0, 2.0], [0, 1])])
def test_nothing_to_compare(values: list[float], groups: list[int]) -> None:
    assert variance_share(np.array(values), np.array(groups)) is None


def test_what_does_not_vary_has_no_share() -> None:
    share = variance_share(np.full(4, 3.0), np.array([0, 0, 1, 1]))
    assert (share.between, share.within, share.share) == (0.0, 0.0, None)


def test_prompts_are_told_apart() -> None:
    episodes = episodes_with([[0.2, 0.4], [0.4], [0.8], [1.0]])  # rewards are the creativity
    episodes = replace(episodes, prompts=((1,), (1,), (2,), (2,)))
    found = prompt_variance(episodes, {(1,): "one", (2,): "two"})
    assert [prompt.text for prompt in found.prompts] == ["two", "one"]  # the best return first
    assert [prompt.mean_return for prompt in found.prompts] == pytest.approx([0.9, 0.5])
    assert found.prompts[1].gates["creativity"] == pytest.approx(0.35)
    assert found.prompts[1].num_episodes == 2
    assert list(found.shares) == ["return", "creativity", "focus", "stability"]
    assert found.shares["focus"].share is None
