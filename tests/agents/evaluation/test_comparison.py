from __future__ import annotations

import numpy as np
import pytest

from agents.evaluation.comparison import Contestant, compare, frozen_gate_costs
from agents.evaluation.text_comparison import Gap, compare_texts

GENERATOR = np.random.default_rng(0)


def constant(name: str, kind: str, value: float, runs: int = 1, episodes: int = 8) -> Contestant:
    return Contestant(name, kind, np.full((runs, episodes), value))


def test_all_contestants_are_scored_and_sorted() -> None:
    comparison = compare(
        [
            constant("best static", "baseline", 5.0),
            constant("min-p", "baseline", 6.0),
            constant("controller", "learned", 8.0, runs=3),
            constant("one-step oracle", "reference", 9.0, episodes=4),
        ]
    )
    assert [score.name for score in comparison.scores] == ["one-step oracle", "controller", "min-p", "best static"]
    assert comparison.scores[1].runs == (8.0, 8.0, 8.0)
    assert [(one.over, one.difference.mean, one.is_apart) for one in comparison.advantages] == [
        ("min-p", 2.0, True),
        ("best static", 3.0, True),
    ]
    assert comparison.advantages[0].probability_of_improvement.mean == 1.0
    static, strongest = comparison.gap_closed
    assert (static.over, static.fraction.mean, static.episodes) == ("best static", 0.75, 4)
    assert (strongest.over, strongest.fraction.mean) == ("min-p", pytest.approx(2 / 3))
    assert static.runs == (0.75, 0.75, 0.75)


def test_gap_is_that_of_the_oracle_s_episodes() -> None:
    learned = np.array([[2.0, 2.0, 100.0]])
    comparison = compare(
        [
            Contestant("controller", "learned", learned),
            constant("best static", "baseline", 1.0, episodes=3),
            constant("one-step oracle", "reference", 3.0, episodes=2),
        ]
    )
    assert comparison.gap_closed[0].fraction.mean == 0.5  # the third episode is excluded
    assert len(comparison.gap_closed) == 1  # best static is the strongest


def test_overlapping_intervals_are_not_apart() -> None:
    noise = GENERATOR.normal(0, 1, (1, 40))
    comparison = compare(
        [Contestant("controller", "learned", noise + 0.1), Contestant("best static", "baseline", noise)]
    )
    (advantage,) = comparison.advantages
    assert advantage.difference.low > 0 and not advantage.is_apart  # paired they differ, their returns overlap
    assert comparison.gap_closed == ()


def test_what_is_missing_is_left_out() -> None:
    assert compare([]).scores == ()
    alone = compare([constant("neutral", "reference", 1.0)])
    assert len(alone.scores) == 1 and alone.advantages == () and alone.gap_closed == ()


def test_frozen_gates() -> None:
    learned = GENERATOR.normal(8, 1, (3, 50))
    dead = learned + GENERATOR.normal(0, 0.5, (3, 50))
    dead -= (dead - learned).mean()
    needed, not_needed = frozen_gate_costs(learned, {"creativity": learned - 0.5, "focus": dead})
    assert needed.cost.mean == pytest.approx(0.5) and needed.is_alive
    assert needed.runs == pytest.approx((0.5, 0.5, 0.5)) and needed.episodes == 50
    assert not_needed.cost.mean == pytest.approx(0.0, abs=1e-12) and not not_needed.is_alive


def gap(value: float, human: float, left_out: list[float]) -> Gap:
    return Gap(value, human, np.array(left_out))


def test_text_nearer_to_human_from_the_other_side() -> None:
    """Distances 0.1 below and 0.3 above: nearer by 0.2, and groups left out move both on their own side."""
    ours, theirs = gap(0.9, 1.0, [-0.1, -0.1, -0.1, -0.1]), gap(1.3, 1.0, [0.3, 0.3, 0.3, 0.3])
    advantage = compare_texts("zipf", [ours], theirs)
    assert (advantage.learned_distance, advantage.baseline_distance) == pytest.approx((0.1, 0.3))
    assert advantage.difference.mean == pytest.approx(-0.2) and advantage.is_nearer
    assert advantage.difference.high == pytest.approx(-0.2)  # no group matters


def test_spread_of_text_measures() -> None:
    """By hand: jackknife variance 3/4 · Σ(±0.1)² = 0.03 over texts, variance of the mean 0.02/2 over runs; t₃ 3.182."""
    runs = [gap(1.1, 1.0, [0.1] * 4), gap(1.3, 1.0, [0.3] * 4)]
    theirs = gap(1.05, 1.0, [0.15, -0.05, 0.15, -0.05])
    advantage = compare_texts("mauve", runs, theirs)
    assert advantage.difference.mean == pytest.approx(0.15)
    reach = 3.1824 * np.sqrt(0.03 + 0.01)
    assert advantage.difference.high == pytest.approx(0.15 + reach, rel=1e-3)
    assert not advantage.is_nearer and not advantage.is_significantly_farther
