"""`tidal analyze`: how an agent uses the gates, as figures and as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from agents.analysis.config import AnalysisConfig
from agents.episodes.env_config import EnvConfig
from lm.passed_files import BundledInFiles, InsideInFiles
from lm.paths import user_path
from tidal.cli.console import output, print_figures
from tidal.cli.parsing import add_overwrite, config_of, instantiated, new_parser
from tidal.cli.running import run_job
from tidal.jobs import agent_names

if TYPE_CHECKING:
    from agents.analysis.analysis import Analysis


def make_parser() -> ArgumentParser:
    """The command's options."""
    parser = new_parser("analyze", "Analyse how an agent uses the gates: statistics, phase changes, tokens, prompts, "
        "extreme settings, and annotated stories.")  # fmt: skip
    add = parser.add_option
    add("--agent", type=str, required=True, help=f"Agent: {agent_names.HELP}.")
    add("--output", type=InsideInFiles, required=True, help="Output folder for figures and page.")
    add_overwrite(parser, "Replace the analysis in the folder.")
    add("--model", type=BundledInFiles | None, default=None, help="Language model; overrides --env.model.")
    add("--env", type=EnvConfig, default=EnvConfig(), help="Environment. Options at their defaults are taken from the "
        "controller's training environment.")  # fmt: skip
    parser.add_options_of(AnalysisConfig)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run the analysis, print the main figures and the paths of the files."""
    parser = make_parser()
    options = parser.parse_args(list(arguments))
    config = config_of(parser, options, AnalysisConfig)
    env = instantiated(parser, options).env

    from tidal.reports.analysis_page import AnalysisRun

    wanted = AnalysisRun(options.agent, env, config, options.model)
    job = run_job("analyze", wanted, user_path(options.output), overwrite=options.overwrite)
    analysis = job.details
    print_figures(f"{analysis.agent}: {analysis.num_episodes} episodes, {config.prompts} prompts", summary(analysis))
    output.print(f"Figures  {job.files['figures']}", soft_wrap=True)
    output.print(f"Page     {job.files['page']}", soft_wrap=True)
    return 0


def summary(analysis: Analysis) -> dict[str, str]:
    """The main figures of an analysis."""
    figures = {"return [95%]": str(analysis.mean_return)}
    for name, gate in analysis.gates.items():
        first, last = analysis.quarters[0].gates[name].mean, analysis.quarters[-1].gates[name].mean
        figures[name] = f"{gate.mean:.2f} ± {gate.std:.2f}, {first:.2f} in the first quarter, {last:.2f} in the last"
    strongest = sorted(analysis.correlations, key=lambda one: -abs(one.value or 0.0))
    for one in (one for one in strongest[:2] if one.value is not None):
        figures[f"r({one.first}, {one.second})"] = f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"
    found, shuffled = (sum(counts.values()) for counts in (analysis.phases.per_episode, analysis.phases.shuffled))
    figures["phase changes"] = f"{found:.2f} an episode; {shuffled:.2f} with its tokens shuffled"
    share = analysis.prompts.shares["return"] if analysis.prompts else None
    if share is not None and share.share is not None:
        figures["prompts"] = f"{share.share:.0%} of the variance of returns [{share.low:.0%}, {share.high:.0%}]"
    if analysis.sweep:
        best = max(analysis.sweep, key=lambda setting: setting.mean_return.mean)
        gates = ", ".join(f"{gate:g}" for gate in best.gates)
        figures["best extreme"] = f"({gates}) with {best.mean_return}; the agent's return minus that: {best.advantage}"
    return figures
