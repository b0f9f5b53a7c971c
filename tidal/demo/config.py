"""Configuration of the demonstration."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lm.checks import COUNT, SEED, at_least, check_fields
from lm.passed_files import BundledInFiles


@dataclass(frozen=True)
class DemoConfig:
    """Configuration of the demonstration. The defaults take about four minutes on two cores."""

    model: BundledInFiles = "tidal-tiny"
    """Language model: a bundled name, a folder or a hub id."""
    seed: int = 0
    """Seed of tuning, training and evaluation, at least 0."""
    steps: int = 160_000
    """Env steps (tokens) that the controller is trained with; tuning of static settings uses at least as many."""
    settings: int = 192
    """Number of static gate settings to try, at least 1."""
    episodes: int = 256
    """Held-out episodes of each agent, at least 1."""
    oracle_episodes: int = 32
    """Held-out episodes of the slow one-step oracle; 0 skips the oracle."""
    oracle_levels: tuple[int, int, int] = (9, 3, 5)
    """Grid of the oracle: number of values of creativity, focus and stability, at least 2 each."""

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("steps", "settings", "episodes"), COUNT)
        check_fields(self, seed=SEED, oracle_episodes=at_least(0), oracle_levels=at_least(2), **counts)

    def shortened(self) -> DemoConfig:
        """The same phases in seconds, too short for learning."""
        return replace(
            self,
            steps=3200,
            settings=8,
            episodes=16,
            oracle_episodes=min(self.oracle_episodes, 4),
            oracle_levels=(2, 2, 2),
        )
