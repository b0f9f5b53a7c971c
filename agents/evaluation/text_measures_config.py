"""Configuration of text measures."""

from __future__ import annotations

from dataclasses import dataclass

from lm.checks import check_fields
from lm.model_names import DEFAULT_JUDGE
from lm.passed_files import BundledInFiles, TextInFiles

GROUPS = 32
"""Number of groups G of the jackknife."""
FEWEST_TEXTS = 2 * GROUPS
"""Minimum number of texts of a measure."""


@dataclass(frozen=True)
class TextMeasuresConfig:
    """Configuration of text measures: judge model and human text."""

    judge: BundledInFiles = DEFAULT_JUDGE
    """Judge model with the texts' vocabulary: a bundled name, a folder or a hub id. For an unbiased result, use neither
    the model that generated the texts nor the reward's judge."""
    human: TextInFiles | None = None
    """Human text: a .txt, .jsonl or .parquet file, or a dataset id on the hub. None: bundled beginnings of stories."""

    def __post_init__(self) -> None:
        check_fields(self, "text")
