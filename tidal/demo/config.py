"""What the demonstration runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lm.checks import COUNT, SEED, at_least, check_fields
from lm.passed_files import BundledInFiles


@dataclass(frozen=True)
class DemoConfig:
    """The demonstration. The defaults take about four minutes on two cores."""

    model: BundledInFiles = "tidal-tiny"
    """Language model: a bundled name, a folder or a hub id."""
    seed: int = 0
    """Seed of everything, at least 0."""
    steps: int = 160_000
    """Env steps (tokens) that the controller learns from; tuning the best static setting spends no less."""
    settings: int = 192
    """Static settings that are tried, at least 1."""
    episodes: int = 256
    """Held-out episodes of each agent, at least 1."""
    oracle_episodes: int = 32
    """Held-out episodes of the one-step oracle, which is slow; 0 leaves it out."""
    oracle_levels: tuple[int, int, int] = (9, 3, 5)
    """Values of creativity, focus and stability that the oracle tries, at least 2 each."""

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("steps", "settings", "episodes"), COUNT)
        check_fields(self, seed=SEED, oracle_episodes=at_least(0), oracle_levels=at_least(2), **counts)

    def shortened(self) -> DemoConfig:
        """A walk through all phases in seconds, too short to learn anything."""
        return replace(
            self,
            steps=3200,
            settings=8,
            episodes=16,
            oracle_episodes=min(self.oracle_episodes, 4),
            oracle_levels=(2, 2, 2),
        )
