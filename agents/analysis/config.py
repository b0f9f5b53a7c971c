"""Configuration of an analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lm.checks import COUNT, SEED, at_least, check_fields
from lm.errors import InvalidValueError
from lm.passed_files import one_of


@dataclass(frozen=True)
class AnalysisConfig:
    """Configuration of an analysis of an agent."""

    prompts: Annotated[str, one_of("train", "heldout")] | list[str] = "heldout"
    """"heldout" or "train" (bundled openings), or a UTF-8 text file with one opening per line."""
    episodes: int = 256
    """Number of episodes, at least 1. The comparison of prompts runs as many additional episodes."""
    seed: int = 0
    """Seed of the episodes and of the bootstraps, at least 0."""
    num_envs: int = 64
    """Number of parallel episodes, at least 1."""
    stories: int = 4
    """Number of stories: the first episodes token by token with alternatives; at most `num_envs`."""
    window: int = 8
    """Window of the detection of phase changes [tokens], at least 2."""
    min_occurrences: int = 20
    """Minimum occurrences of a token to be listed among those with the highest and lowest gates, at least 1."""
    repeated_prompts: int = 32
    """Number of prompts, each with several episodes, for the variance between prompts; at least 2, or 0 to skip it."""
    sweep_episodes: int = 64
    """Number of episodes, the first ones, to run each extreme setting on; 0 skips the sweep."""

    def __post_init__(self) -> None:
        none_or_more = dict.fromkeys(("stories", "repeated_prompts", "sweep_episodes"), at_least(0))
        check_fields(
            self,
            episodes=COUNT,
            seed=SEED,
            num_envs=COUNT,
            window=at_least(2),
            min_occurrences=COUNT,
            **none_or_more,
        )
        if self.repeated_prompts == 1:
            raise InvalidValueError("repeated_prompts", "must be 0 or at least 2", 1)
