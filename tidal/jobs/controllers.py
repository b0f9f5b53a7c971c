"""The jobs that train, tune, compare and analyse agents."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.training.config import TrainConfig
from lm.errors import CheckpointError
from lm.runs.events import logged
from lm.runs.progress import Report, ignore
from lm.runs.run_folder import claimed
from lm.runs.stop import StopRequest
from lm.runs.whole_file import write_json
from tidal.jobs.agent_names import agent_named, environment_for
from tidal.jobs.config import EvaluateConfig, TuneConfig
from tidal.jobs.optional_folder import claimed_if_given
from tidal.jobs.registry import JobResult
from tidal.reports.analysis_page import DATA_FILE, AnalysisRun, write_page

EVALUATION_FILE = "evaluation.json"


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Train a controller; the figures are its last metrics, the details the controller."""
    from agents.training.run import CONTROLLER_FOLDER, train

    controller = train(config, folder, resume=resume, overwrite=overwrite, progress=progress, stop=stop)
    return JobResult(controller.metrics, {"controller": folder / CONTROLLER_FOLDER}, controller)


def tune(
    config: TuneConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Tune families one after the other, and write a file for each; families that have their file are skipped.

    A tuning that is asked to finish takes the best setting so far and begins no other family. The figures hold
    parameters and mean return of each family.
    """
    from agents.baselines.tuning import FAMILIES, family_named, limit_of, read_tuning, tune

    families = [family_named(name) for name in config.decoders] or list(FAMILIES.values())
    for family in families:
        limit_of(family, config.env, config.env_steps, num_envs=config.num_envs)
    config.env.make(config.num_envs).close()  # invalid arguments raise before the folder is claimed
    figures: dict[str, Any] = {}
    files: dict[str, Path] = {}
    adjustable = frozenset({"decoders"})
    with claimed(folder, "tune", config, resume=resume, overwrite=overwrite, adjustable=adjustable) as folder:
        report = logged(progress, folder)
        for family in families:
            path = folder / f"{family.name}.json"
            if not path.exists():
                if stop is not None and stop.is_requested and files:
                    break
                tuning = tune(
                    family.name,
                    config.env,
                    env_steps=config.env_steps,
                    num_envs=config.num_envs,
                    seed=config.seed,
                    progress=report,
                    stop=stop,
                )
                write_json(path, tuning.to_json())
            found = read_tuning(path)
            if math.isnan(found.mean_return):
                raise CheckpointError(f"{path} is damaged: it lacks `mean_return`. Remove it to tune again.")
            figures[family.name] = {"mean_return": found.mean_return, "parameters": found.parameters}
            files[family.name] = path
        if stop is not None:
            stop.raise_if_cancelled()
    return JobResult(figures, files)


def evaluate(
    config: EvaluateConfig,
    folder: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Evaluate agents on the same episodes; details: a list of :class:`agents.evaluation.evaluation.Evaluation`.

    The figures hold the environment and all evaluations; with a run folder, they are written to its
    ``evaluation.json``. A comparison that is asked to finish ends with the episodes of the present agent so far.
    """
    from agents.evaluation.evaluation import Evaluation, evaluate

    agents = [agent_named(name) for name in config.agents]
    env = environment_for(agents, config.env, model=config.model, prompts=config.prompts)

    if folder is not None:
        env.make(1).close()  # a missing model raises before the folder is claimed
    with claimed_if_given(folder, "evaluate", config, progress, overwrite=overwrite) as (folder, report):
        evaluations: list[Evaluation] = []
        for agent in agents:
            if evaluations and stop is not None and stop.is_requested:
                stop.raise_if_cancelled()
                break
            evaluations.append(
                evaluate(
                    agent,
                    env,
                    prompts=config.prompts,
                    episodes=config.episodes,
                    seed=config.seed,
                    num_envs=config.num_envs,
                    measures=config.measures,
                    progress=report,
                    stop=stop,
                )
            )
        figures = {
            "environment": asdict(env),
            "agents": [json.loads(evaluation.to_json()) for evaluation in evaluations],
        }
        if folder is None:
            return JobResult(figures, details=evaluations)
        write_json(folder / EVALUATION_FILE, figures)
        return JobResult(figures, {"evaluation": folder / EVALUATION_FILE}, evaluations)


def analyze(
    config: AnalysisRun,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> JobResult:
    """Analyse how an agent uses the gates, and write figures and a page; details: the analysis."""
    from agents.analysis.analysis import analyze
    from agents.analysis.recorder import Recorder
    from agents.episodes.episodes import require_series
    from lm.runs.provenance import provenance
    from lm.runs.record import command_of_process

    agent = agent_named(config.agent)
    env = environment_for([agent], config.env, model=config.model, prompts=config.config.prompts)
    # Checked before the folder is claimed: agent and environment raise errors here.
    Recorder(agent, rows=0)
    require_series(config.config.episodes, config.config.seed, env.max_episode_steps)
    env.make(1).close()
    with claimed(folder, "analyze", config, resume=None, overwrite=overwrite) as folder:
        analysis = analyze(agent, env, config.config, progress=logged(progress, folder), stop=stop)
        made_with, command = provenance(), command_of_process()
        data = {"command": command, "made_with": vars(made_with), "analysis": analysis.to_json()}
        write_json(folder / DATA_FILE, data)
        page = write_page(analysis, AnalysisRun(config.agent, env, config.config), folder,
                          command=command, made_with=made_with)  # fmt: skip
    return JobResult(analysis.to_json(), {"figures": folder / DATA_FILE, "page": page}, analysis)
