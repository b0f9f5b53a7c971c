"""What an analysis of an agent looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lm.checks import COUNT, SEED, at_least, check_fields
from lm.errors import InvalidValueError
from lm.passed_files import one_of


@dataclass(frozen=True)
class AnalysisConfig:
    """What is looked at, and how closely."""

    prompts: Annotated[str, one_of("train", "heldout")] | list[str] = "heldout"
    """"heldout" or "train" (bundled openings), or a UTF-8 text file with an opening a line."""
    episodes: int = 256
    """Episodes to look at, at least 1; as many again tell prompts apart."""
    seed: int = 0
    """Seed of the episodes and of the bootstraps, at least 0."""
    num_envs: int = 64
    """Episodes that run side by side, at least 1."""
    stories: int = 4
    """The first episodes, at most as many as run side by side, are told token by token with their alternatives."""
    window: int = 8
    """Tokens of the windows that phase changes are found with, at least 2."""
    min_occurrences: int = 20
    """Fewest occurrences of a token in the lists of tokens with the highest and lowest gates, at least 1."""
    repeated_prompts: int = 32
    """Prompts that begin several episodes each, to tell them apart; at least 2, or 0 to leave that out."""
    sweep_episodes: int = 64
    """Episodes of each extreme setting, the first of those looked at; 0 leaves the sweep out."""

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
