"""The kinds of jobs: every piece of work that a user can start, by name, with its configuration and its function.

A kind names its configuration and its function as ``"module:attribute"``, so that listing the kinds imports neither.
The function has one form for all kinds::

    run(config, folder, *, resume=False, overwrite=False, progress, stop) -> JobResult

The command line calls it in its own process; :mod:`tidal.jobs.executors` call it elsewhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from lm.errors import InvalidValueError
from lm.runs.progress import Report, ignore
from lm.runs.stop import StopRequest


@dataclass(frozen=True)
class JobResult:
    """Result of a job that has ended as completed."""

    figures: Mapping[str, Any]
    """Main figures, as plain data (JSON)."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files and folders that were written, by name: "model", "controller", "page"."""
    details: Any = None
    """What the kind returns beside its figures, for a caller in the same process; not every kind has it."""


class JobFunction(Protocol):
    """Function that runs the jobs of a kind."""

    def __call__(
        self,
        config: Any,
        folder: Path | None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        progress: Report = ignore,
        stop: StopRequest | None = None,
    ) -> JobResult:
        """Run a job.

        Args:
            config: configuration, of the kind's dataclass.
            folder: run folder; None for kinds that can run without one, which then write nothing.
            resume: go on with the run in the folder.
            overwrite: replace the run in the folder.
            progress: receives the progress.
            stop: request to finish or to cancel.

        Raises:
            RunCancelledError: `stop` requested a cancel.
            TidalGymError: the configuration or the folder's content does not allow the run.
        """


@dataclass(frozen=True)
class JobKind:
    """A kind of job."""

    name: str
    """Name, as ``run.json`` holds it: "pretrain"."""
    purpose: str
    """What its jobs do, in a sentence."""
    config_path: str
    """``"module:class"`` of the configuration, a frozen dataclass."""
    run_path: str
    """``"module:function"`` of the function that runs its jobs."""
    needs_folder: bool = True
    """Whether its jobs cannot run without a run folder."""
    is_resumable: bool = False
    """Whether a job that was ended early can go on."""

    def config_class(self) -> type[Any]:
        """The class of the configuration."""
        return _attribute(self.config_path)

    def function(self) -> JobFunction:
        """The function that runs the jobs."""
        return _attribute(self.run_path)


KINDS: dict[str, JobKind] = {}
"""The kinds of jobs by name; :func:`register` adds one."""


def register(kind: JobKind) -> None:
    """Add a kind of job.

    Raises:
        InvalidValueError: there is a kind of this name.
    """
    if kind.name in KINDS:
        raise InvalidValueError("name", "must be that of no registered kind of job", kind.name)
    KINDS[kind.name] = kind


def job_kind(name: str) -> JobKind:
    """The kind of job of a name.

    Raises:
        InvalidValueError: there is none.
    """
    if name not in KINDS:
        near = difflib.get_close_matches(name, KINDS, n=1)
        rule = f"must be a kind of job: {', '.join(KINDS)}"
        raise InvalidValueError("kind", rule, name, f"Did you mean `{near[0]}`?" if near else "")
    return KINDS[name]


@dataclass(frozen=True)
class Job:
    """A job: what to run, with what, and where."""

    kind: str
    """Name of its kind."""
    config: Any
    """Configuration, of the kind's dataclass."""
    folder: Path | None = None
    """Run folder; None for kinds that can run without one."""
    resume: bool = False
    """Whether to go on with the run in the folder."""
    overwrite: bool = False
    """Whether to replace the run in the folder."""

    def __post_init__(self) -> None:
        kind = job_kind(self.kind)
        if not isinstance(self.config, kind.config_class()):
            rule = f"must be a {kind.config_class().__name__} for a job of kind `{kind.name}`"
            raise InvalidValueError("config", rule, type(self.config).__name__)
        if kind.needs_folder and self.folder is None:
            raise InvalidValueError("folder", f"must be given for a job of kind `{kind.name}`", None)
        if self.resume and not kind.is_resumable:
            raise InvalidValueError("resume", f"must be false for a job of kind `{kind.name}`", True)

    def run(self, *, progress: Report = ignore, stop: StopRequest | None = None) -> JobResult:
        """Run the job in this thread; see :class:`JobFunction`."""
        function = job_kind(self.kind).function()  # imports it, which can take seconds
        if stop is not None:
            stop.raise_if_cancelled()
        return function(
            self.config, self.folder, resume=self.resume, overwrite=self.overwrite, progress=progress, stop=stop
        )


def _attribute(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


for _kind in (
    JobKind("pretrain", "Train a language model on text.",
            "lm.pretraining.config:PretrainConfig", "tidal.jobs.language_models:pretrain", is_resumable=True),
    JobKind("train", "Train a controller of the gates.",
            "agents.training.config:TrainConfig", "tidal.jobs.controllers:train", is_resumable=True),
    JobKind("tune", "Tune static gates and decoding methods with equal budgets.",
            "tidal.jobs.config:TuneConfig", "tidal.jobs.controllers:tune", is_resumable=True),
    JobKind("evaluate", "Compare controllers and baselines on the same episodes.",
            "tidal.jobs.config:EvaluateConfig", "tidal.jobs.controllers:evaluate", needs_folder=False),
    JobKind("benchmark", "Compare learned controllers with every tuned baseline and the oracle.",
            "tidal.benchmark.config:BenchmarkConfig", "tidal.jobs.benchmark:benchmark", is_resumable=True),
    JobKind("benchmark-stage", "Run one stage of a benchmark in the benchmark's folder.",
            "tidal.benchmark.config:BenchmarkStageConfig", "tidal.jobs.benchmark:benchmark_stage"),
    JobKind("analyze", "Analyse how an agent uses the gates.",
            "tidal.reports.analysis_page:AnalysisRun", "tidal.jobs.controllers:analyze"),
    JobKind("statistics", "Measure the reference statistics of a model.",
            "tidal.jobs.config:StatisticsConfig", "tidal.jobs.texts:statistics", needs_folder=False),
    JobKind("score", "Compute loss, perplexity and bits per byte of a text.",
            "tidal.jobs.config:ScoreConfig", "tidal.jobs.texts:score", needs_folder=False),
    JobKind("generate", "Continue a text.",
            "tidal.jobs.config:GenerateConfig", "tidal.jobs.texts:generate", needs_folder=False),
    JobKind("carl-train", "Train a language model with coherence rewards.",
            "lm.carl.training.config:CarlTrainConfig", "tidal.jobs.language_models:carl_train", is_resumable=True),
    JobKind("rlm-train", "Train a model on the sentences of a random grammar.",
            "lm.rlm.config:RLMConfig", "tidal.jobs.language_models:rlm_train", is_resumable=True),
    JobKind("rlm-sweep", "Train models for each value of a parameter, on random grammars.",
            "lm.rlm.config:SweepConfig", "tidal.jobs.language_models:rlm_sweep", is_resumable=True),
):  # fmt: skip
    register(_kind)
