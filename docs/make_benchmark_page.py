"""Write docs/benchmark.md from benchmarks/results/controllers: ``python docs/make_benchmark_page.py``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm.model_names import DEFAULT_JUDGE
from tidal.benchmark.table import interval_text

PAGE = Path(__file__).parent / "benchmark.md"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "controllers"

HEAD = """\
<!-- Made from benchmarks/results/controllers by docs/make_benchmark_page.py: change it there. -->

# Benchmark

The benchmark compares learned controllers with tuned baselines. One command tunes every baseline with at least as many
env steps as a controller is trained with, trains the controllers, and evaluates all agents on the same held-out
episodes:

```bash
tidal benchmark --config configs/benchmark/default.yaml --quick --output runs/quick  # some minutes, as a check
tidal benchmark --config configs/benchmark/default.yaml --output runs/benchmark  # ten controllers
tidal benchmark --config configs/benchmark/judge.yaml --output runs/benchmark-judge  # the reward judge
```

The output folder contains `results.json`, `report.html` (a single self-contained file), `plots/`, and `stages/` with
one JSON file for each finished stage. `--resume` continues an interrupted benchmark: finished stages are kept, and a
training continues
from its last checkpoint. Seeds and decoders can be added on resume; any other change of the configuration is an error.
`--report_only` writes the report from the finished stages. Stages run in parallel, by default in one single-threaded
process per core (`--workers`). `--quick` shortens any configuration to a few minutes. `--model` and `--reward` override
those of the preset:

```bash
tidal benchmark --config configs/benchmark/default.yaml --model path/to/model --output runs/other-model
tidal benchmark --config configs/benchmark/default.yaml --model tidal-judge --text.judge tidal-tiny --output runs/seed1
```

**Agents.** Controllers are trained with consecutive seeds, and every seed is reported. Baselines are the best static
gates and the [decoding methods](decoders.md), tuned on the training openings. Neutral gates, random gates and the
one-step oracle are reference points.

**Budgets** are counted in env steps (tokens drawn). A warm start also computes the expected rewards of other actions.
Each costs a forward pass of the gated stream but no env step. The presets `default` and `judge` therefore give every
baseline 400,000 env steps, twice those of a controller. With `default`, static gates then use as many forward passes as
a controller, since both run two streams (a decoding method runs one). With `judge`, whose warm start is longer, a
controller uses 2.1 million forward passes, those of the judge included: 1.7 times as many as static gates.
`--total_steps` shortens a training and its warm start in proportion, and does not change the budgets of baselines in
the preset. `--quick` shortens all budgets in proportion.

**Intervals** are 95% confidence intervals. Those of returns, differences, gaps and frozen gates resample training seeds
and episodes as two factors (Owen 2007) and pair agents by episode: they cover new seeds and new episodes. IQM and
probability of improvement are computed by rliable (arXiv:2108.13264) with its stratified bootstrap. Distances to human
text have grouped jackknife intervals.
"""

Json = Mapping[str, Any]


def benchmark_page(results: Mapping[str, Json], headroom: Sequence[Json] = ()) -> str:
    """The text of the page, from the content of the result files by their names."""
    names = sorted(results, key=_order)
    summary = ["## Summary", "", *(_summary(results[name]) for name in names)]
    sections = [_section(name, results[name]) for name in names]
    return "\n".join([HEAD, *summary, *sections, *([_headroom(headroom)] if headroom else [])]).rstrip() + "\n"


def read_results(pattern: str = "benchmark-*.json") -> dict[str, Json]:
    """The committed results, by the names of their files."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern))}


def read_headroom() -> list[Json]:
    """The results of ``benchmarks/controllers/headroom.py``, the default reward first."""
    return list(read_results("headroom-*.json").values())[::-1]


HEADROOM = """\
## Potential gain of each gate

States are sampled with noisy static gates on the training openings. In each state, every action of a grid has an exact
expected reward for the next token. The table shows the gain over the best constant action when the action is chosen by
the exact reward, or by a network that predicts rewards from the given input. Gains are per 50 tokens, ± standard error
over rows of episodes. "Without" a gate means that the gate is fixed at its value in the best constant action. The
number beside a reward is the reward of the best constant action in these states (50 tokens). The networks were trained
on other episodes of the same openings; better networks might gain more.

```bash
{commands}
```

| reward | action chosen from | all gates | without creativity | without focus | without stability |
|---|---|---|---|---|---|
"""
INPUTS = ("exact reward", "observation", "observation, hidden state and log-probabilities")


def _headroom(found: Sequence[Json]) -> str:
    """Potential gain of each gate on the next token's reward, from the content of ``headroom-*.json``."""
    rows = [
        f"| `{one['reward']}` ({one['it earns']:.2f}) | {source} | "
        + " | ".join(f"{gain['mean']:+.2f} ± {gain['standard_error']:.2f}" for gain in one[source].values())
        + " |"
        for one in found
        for source in INPUTS
    ]
    return HEADROOM.format(commands="\n".join(one["command"] for one in found)) + "\n".join(rows) + "\n"


def _order(name: str) -> tuple[bool, str]:
    """The default reward first, and each reward's own benchmark before its variants."""
    return (not name.startswith("benchmark-tidal"), Path(name).stem)


def _title(results: Json) -> str:
    env = results["config"]["training"]["env"]
    return f"Reward `{env['reward']}`, model `{Path(env['model']).name}`"


def _summary(results: Json) -> str:
    """The main results of a benchmark in a few sentences."""
    comparison, sentences = results["comparison"], []
    scores = {score["name"]: interval_text(score["mean_return"]) for score in comparison["scores"]}
    learned = [score["name"] for score in comparison["scores"] if score["kind"] == "learned"]
    for best in comparison["advantages"][:1] if learned else []:
        more, note = best["difference"], "" if best["difference"]["low"] > 0 else ", not significant"
        sentences.append(
            f"Controllers earn {scores[learned[0]]}, the strongest baseline ({best['over']}) {scores[best['over']]}; "
            f"the paired difference is {interval_text(more, '+.2f')}{note}."
        )
    if gaps := [f"{interval_text(gap['fraction'], '.0%')} from {gap['over']}" for gap in comparison["gap_closed"]]:
        sentences.append(f"Share of the gap to the oracle that they close: {', '.join(gaps)}.")
    costs = [
        f"{one['gate']} {interval_text(one['cost'], '.2f')}" + ("" if one["is_alive"] else " (not significant)")
        for one in results["frozen_gates"]
    ]
    if costs:
        sentences.append(f"Loss of return with one gate frozen at its mean: {', '.join(costs)}.")
    if texts := results["text"]:
        nearer, farther = (sum(one[key] for one in texts) for key in ("is_nearer", "is_significantly_farther"))
        sentences.append(
            "Their text is nearer to human text than that of the best static gates on "
            f"{nearer} of {len(texts)} measures, and significantly farther on {farther}."
        )
    return textwrap.fill(f"**{_title(results)}.** {' '.join(sentences)}", 120, break_on_hyphens=False) + "\n"


def _section(name: str, results: Json) -> str:
    config, comparison = results["config"], results["comparison"]
    env = config["training"]["env"]
    lines = [
        f"## {_title(results)}",
        "",
        f"{config['seeds']} seeds of {config['training']['total_steps']:,} env steps, {config['episodes']} held-out "
        f"episodes of up to {env['max_episode_steps']} tokens, the oracle on the first {config['oracle_episodes']} "
        f"([{name}](../benchmarks/results/controllers/{name}), {results['made_with']['machine']}, "
        f"{sum(results['seconds'].values()) / 60:.0f} minutes of one process):",
        "",
        "```bash",
        results["command"],
        "```",
        "",
    ]
    if results["missing"]:
        lines += [f"Not finished: {len(results['missing'])} stages are missing.", ""]
    if results["claims"]:
        lines += ["| hypothesis | supported | evidence |", "|---|---|---|"]
        lines += [
            f"| {one['claim']} | {'**yes**' if one['holds'] else '**no**'} | {one['evidence']} |"
            for one in results["claims"]
        ]
        lines.append("")
    lines += _returns(comparison)
    lines += [_gap(gap) for gap in comparison["gap_closed"]]
    lines += _frozen(results["frozen_gates"])
    lines += _texts(results["text"])
    if results["text"] and (env["judge"] or DEFAULT_JUDGE) == config["text"]["judge"] and env["reward"] == "judge":
        lines += [
            "Judge loss and MAUVE are computed with the judge of this reward; the other six are independent of it.\n"
        ]
    lines += _budgets(results["budgets"])
    return "\n".join(lines)


def _returns(comparison: Json) -> list[str]:
    advantages = {advantage["over"]: advantage for advantage in comparison["advantages"]}
    lines = [
        "| agent | runs × episodes | return | IQM | controllers minus agent | P(improvement) |",
        "|---|---|---|---|---|---|",
    ]
    for score in comparison["scores"]:
        mark = "**" if score["kind"] == "learned" else ""
        more, chance = "", ""
        if score["name"] in advantages:
            more = interval_text(advantages[score["name"]]["difference"], "+.2f")
            chance = interval_text(advantages[score["name"]]["probability_of_improvement"])
        lines.append(
            f"| {mark}{score['name']}{mark} | {len(score['runs'])} × {score['episodes']} "
            f"| {mark}{interval_text(score['mean_return'])}{mark} | {interval_text(score['interquartile_mean'])} "
            f"| {more} | {chance} |"
        )
    learned = [score for score in comparison["scores"] if score["kind"] == "learned"]
    for score in learned:
        lines += ["", f"Mean return of each seed: {', '.join(f'{run:.2f}' for run in score['runs'])}."]
    return [*lines, ""]


def _gap(gap: Json) -> str:
    runs = ", ".join(f"{run:.0%}" for run in gap["runs"])
    return (
        f"From {gap['over']} ({gap['floor']:.2f} on the oracle's {gap['episodes']} episodes) to the oracle "
        f"({gap['ceiling']:.2f}) the controllers close **{interval_text(gap['fraction'], '.0%')}**; "
        f"each seed: {runs}.\n"
    )


def _frozen(costs: list[Json]) -> list[str]:
    if not costs:
        return []
    rows = [
        f"| {one['gate']} | {interval_text(one['cost'], '+.3f')} | {'yes' if one['is_alive'] else 'no'} |"
        for one in costs
    ]
    return ["| gate frozen at its mean | loss of return | significant |", "|---|---|---|", *rows, ""]


def _texts(texts: list[Json]) -> list[str]:
    if not texts:
        return []
    lines = [
        "| measure of text | human | controllers | best static | distance: controllers minus best static | nearer |",
        "|---|---|---|---|---|---|",
    ]
    for one in texts:
        nearer = "controllers" if one["is_nearer"] else "best static"
        is_significant = one["difference"]["high"] < 0 or one["difference"]["low"] > 0
        nearer += "" if is_significant else ", not significantly"
        lines.append(
            f"| {one['measure'].replace('_', ' ')} "
            f"| {one['human']:.3f} | {one['learned']:.3f} | {one['baseline']:.3f} "
            f"| {interval_text(one['difference'], '+.3f')} | {nearer} |"
        )
    return [*lines, ""]


def _budgets(budgets: list[Json]) -> list[str]:
    lines = ["| method | env steps | settings evaluated | best setting |", "|---|---|---|---|"]
    learned = [budget for budget in budgets if "seed" in budget]
    if learned:
        steps = max(budget["env_steps"] for budget in learned)
        lines.append(f"| controller, each of {len(learned)} seeds | {steps:,} | | |")
    for budget in budgets:
        if "seed" not in budget:
            found = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in budget["settings"].items())
            lines.append(f"| {budget['name']} | {budget['env_steps']:,} | {budget['tried']} | {found} |")
    return [*lines, ""]


if __name__ == "__main__":
    PAGE.write_text(benchmark_page(read_results(), read_headroom()), encoding="utf-8")
