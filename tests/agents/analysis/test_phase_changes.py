import numpy as np
import pytest
from scipy.stats import ttest_ind

from agents.analysis.phase_changes import phase_changes, welch
from lm.errors import InvalidValueError
from tests.agents.analysis.test_gate_statistics import episodes_with


def test_welch_by_hand() -> None:
    """Means 2 and 6, variances 1 and 4; then means 1 and 7, both variances 2, which leaves 2 degrees of freedom."""
    t, _ = welch(np.array([1.0, 2.0, 3.0, 4.0, 6.0, 8.0]), 3)
    assert t == pytest.approx([4 / np.sqrt(1 / 3 + 4 / 3)])
    t, p = welch(np.array([0.0, 2.0, 6.0, 8.0]), 2)
    assert t == pytest.approx([6 / np.sqrt(2)])
    assert p == pytest.approx([1 - 6 / np.sqrt(2) / np.sqrt(2 + 18)])  # Student's distribution with 2 degrees


def test_welch_against_scipy() -> None:
    values = np.random.default_rng(0).random((2, 3, 20))
    t, p = welch(values, 4)
    assert t.shape == (2, 3, 13)
    for place in range(13):
        before, after = values[..., place : place + 4], values[..., place + 4 : place + 8]
        expected = ttest_ind(after, before, axis=-1, equal_var=False)
        np.testing.assert_allclose(t[..., place], expected.statistic)
        np.testing.assert_allclose(p[..., place], expected.pvalue)


def test_constant_windows() -> None:
    t, p = welch(np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]]), 2)
    assert t.tolist() == [[0.0], [np.inf], [-np.inf]] and p.tolist() == [[1.0], [0.0], [0.0]]


def test_a_step_is_found_once_where_it_is() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, 40)
    step = (np.where(np.arange(40) < 22, 0.2, 0.8) + noise).tolist()
    flat = (0.5 + noise).tolist()
    found = phase_changes(episodes_with([step, flat, step[:10]]), window=8)
    assert found.num_episodes == 2  # the third is shorter than two windows
    assert [(one.episode, one.gate, one.place) for one in found.changes] == [
        (0, "creativity", 22),
        (0, "stability", 22),
    ]
    rise, fall = found.changes
    assert rise.before == pytest.approx(0.2, abs=0.02) and rise.after == pytest.approx(0.8, abs=0.02)
    assert rise.t > 50 and fall.t == pytest.approx(-rise.t, rel=1e-3) and rise.p < 1e-10
    assert found.per_episode == {"creativity": 0.5, "focus": 0.0, "stability": 0.5}
    assert found.shuffled == {"creativity": 0.0, "focus": 0.0, "stability": 0.0}


def test_a_step_between_constants_has_no_finite_t() -> None:
    (rise, _) = phase_changes(episodes_with([[0.0] * 4 + [1.0] * 4]), window=4).changes
    assert (rise.place, rise.t, rise.p) == (4, None, 0.0)


def test_noise_is_no_phase_change() -> None:
    noise = np.random.default_rng(2).random((200, 50)).tolist()
    assert sum(phase_changes(episodes_with(noise)).per_episode.values()) < 0.05


def test_short_episodes_and_windows() -> None:
    found = phase_changes(episodes_with([[0.1, 0.9]]), window=2)
    assert found.changes == () and found.num_episodes == 0
    with pytest.raises(InvalidValueError, match="`window` must be at least 2 tokens. Received 1"):
        phase_changes(episodes_with([[0.1, 0.9]]), window=1)
