"""Configurations of the kinds of jobs that have none in a package below."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.episodes.env_config import EnvConfig
from agents.evaluation.text_measures_config import TextMeasuresConfig
from lm.checks import COUNT, SEED, above, at_least, check_fields, require
from lm.errors import InvalidValueError
from lm.passed_files import BundledInFiles, InsideInFiles, NotInFiles, TextInFiles


@dataclass(frozen=True)
class TuneConfig:
    """Configuration of a tuning run."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """Environment to tune in, with its prompts."""
    decoders: tuple[str, ...] = ()
    """`static` or decoding methods to tune; empty for all."""
    env_steps: int = 200_000
    """Budget of env steps (tokens) for each of them."""
    num_envs: int = 64
    """Number of parallel episodes, at least 1."""
    seed: int = 0
    """Seed of search and episodes, at least 0."""

    def __post_init__(self) -> None:
        check_fields(self, env_steps=COUNT, num_envs=COUNT, seed=SEED)


@dataclass(frozen=True)
class EvaluateConfig:
    """Configuration of a comparison of agents on the same episodes."""

    agents: tuple[str, ...]
    """Names of the agents, see :func:`tidal.jobs.agent_names.agent_named`; at least one."""
    env: EnvConfig = field(default_factory=EnvConfig)
    """Environment. Fields at their defaults are taken from the training environment of the first controller."""
    model: BundledInFiles | None = None
    """Language model; overrides that of `env`."""
    prompts: str = "heldout"
    """"heldout" or "train" (bundled openings), or a UTF-8 text file with one opening per line."""
    episodes: int = 256
    """Episodes of each agent, at least 1."""
    num_envs: int = 64
    """Episodes that run side by side, at least 1."""
    seed: int = 0
    """Seed of the episodes, at least 0."""
    measures: TextMeasuresConfig | None = None
    """Measures of the texts and their distances to human text; None: they are not measured."""

    def __post_init__(self) -> None:
        check_fields(self, episodes=COUNT, num_envs=COUNT, seed=SEED)
        require("agents", "must name at least one agent", self.agents, len(self.agents) > 0)


@dataclass(frozen=True)
class StatisticsConfig:
    """Configuration of a measurement of a model's reference statistics."""

    model: BundledInFiles
    """Language model: a bundled name, a folder or a hub id."""
    data: TextInFiles
    """Text: a .txt file (documents separated by a line <|endoftext|>), .jsonl, .parquet, or a dataset id on the hub."""
    text_field: str = "text"
    """Column that holds the text, for all sources but .txt."""
    held_out: float = 0.02
    """Share of the documents, the last ones, that H* is measured on, in (0, 1). N-grams are counted on the others."""
    output: InsideInFiles | None = None
    """File to write. None: the statistics file of the run's folder; without one, that of the model's folder, which is
    loaded with the model."""

    def __post_init__(self) -> None:
        check_fields(self)
        require("held_out", "must lie between 0 and 1", self.held_out, 0 < self.held_out < 1)


@dataclass(frozen=True)
class ScoreConfig:
    """Configuration of the scoring of a text."""

    text: str | None = None
    """Text to score; None: `file` is scored."""
    file: TextInFiles | None = None
    """File to score: .txt (documents separated by a line <|endoftext|>), or .jsonl or .parquet with a column `text`."""
    model: BundledInFiles = "tidal-tiny"
    """Language model: a bundled name, a folder or a hub id."""
    per_token: bool = False
    """Whether the result holds the surprisal of each token and the most probable tokens."""
    top_k: int = 3
    """Number of most probable tokens for each token, at least 0."""

    def __post_init__(self) -> None:
        if (self.text is None) == (self.file is None):
            received = "neither" if self.text is None else "both"
            raise InvalidValueError("text", "or `file` must be given, and not both", received)
        check_fields(self, top_k=at_least(0))


@dataclass(frozen=True)
class GenerateConfig:
    """Configuration of the continuation of a text."""

    prompt: str
    """Text to continue."""
    controller: InsideInFiles | None = None
    """Folder of a controller, which sets the gates; None: `gates`."""
    gates: tuple[float, float, float] | None = None
    """Fixed gates in [0, 1]: creativity, focus, stability; None: neutral gates, plain sampling."""
    model: BundledInFiles | None = None
    """Language model: a bundled name, a folder or a hub id. None: the controller's training model, else tidal-tiny."""
    statistics: NotInFiles | None = None
    """File of the model's reference statistics. None: the one in the model's folder."""
    max_tokens: int = 200
    """Maximum number of new tokens, at least 1."""
    temperature: float | None = None
    """Temperature at the middle of the creativity gate, above 0. None: as in the controller's training, else 1."""
    top_k: int | None = None
    """Number of most probable tokens to sample from, at least 1. None: as in the controller's training, else 40."""
    top_p: float | None = None
    """Nucleus sampling: total probability of the tokens to sample from, in (0, 1]. None: as in the controller's
    training, else 1."""
    seed: int = 0
    """Seed of the sampling, at least 0."""
    stop: tuple[str, ...] = ()
    """Stop strings. The text ends after the first one."""

    def __post_init__(self) -> None:
        is_one = self.gates is None or self.controller is None
        require("gates", "must not be given together with `controller`", self.gates, is_one)
        check_fields(self, max_tokens=COUNT, temperature=above(0), seed=SEED)
