"""Write docs/benchmark.md from the results in benchmarks/results: ``python docs/make_benchmark_page.py``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidal.benchmark_table import interval_text
from tidal_gym.judge import DEFAULT_JUDGE

PAGE = Path(__file__).parent / "benchmark.md"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

HEAD = """\
<!-- Made from benchmarks/results/{benchmark,headroom}-*.json by docs/make_benchmark_page.py: change it there. -->

# Benchmark

Do learned controllers beat every tuned decoder, by how much, and how sure is that? One command tunes every baseline
with at least as many env steps as a controller learns from, trains the controllers, and compares all on the same
held-out episodes:

```bash
tidal benchmark --config configs/benchmark/quick.yaml --output runs/quick  # 3 minutes on two cores, to see it work
tidal benchmark --config configs/benchmark/default.yaml --output runs/benchmark  # ten controllers, in earnest
tidal benchmark --config configs/benchmark/judge.yaml --output runs/benchmark-judge  # the same on the reward judge
```

The folder gets `results.json`, `report.html` (one file, to be opened by itself), `plots/`, and a JSON file for every
stage in `stages/` as soon as the stage is done. After a kill `--resume` goes on: finished stages are kept, a training
continues from its last checkpoint, and another configuration is refused by name (more seeds and more decoders are
welcome). `--report_only` puts together what there is. Stages run in as many processes as there are cores, a thread
each (`--workers`). `--quick` shortens any configuration to some minutes; `--model` and `--reward` replace those of
the recipe:

```bash
tidal benchmark --config configs/benchmark/default.yaml --model path/to/model --output runs/other-model
tidal benchmark --config configs/benchmark/default.yaml --model tidal-judge --text.judge tidal-tiny --output runs/seed1
```

**What is compared.** Controllers are trained from neighbouring seeds, and every one of them is reported. Baselines are
the best static gates and the [decoding methods](decoders.md), tuned on the training openings. Budgets are counted in
env steps (tokens drawn). A warm start also asks the environment what other actions are expected to earn, which takes no
env step but a forward pass of the gated stream each. The presets `default` and `judge` therefore give every baseline
twice the env steps of a controller, 400,000. With `default` that is as many forward passes for static gates, which run
two streams as a controller does (a decoding method runs one). With `judge`, whose warm start is longer, a controller
makes 2.1 million passes, the judge's included, 1.7 times as many as static gates. `--total_steps` shortens a training
and its warm start alike, and leaves what the preset gives to baselines. `quick` gives as many env steps. Neutral,
random and the one-step oracle are there for orientation.

**What the intervals mean.** Those of returns, differences, gaps and frozen gates resample training seeds and episodes,
each as a whole (Owen 2007), and pair everybody by episode: they hold for new seeds and new episodes. IQM and
probability of improvement are rliable's (arXiv:2108.13264), with its stratified bootstrap. Distances of texts to human
text have a grouped jackknife's. All are 95%.
"""

Json = Mapping[str, Any]


def benchmark_page(results: Mapping[str, Json], headroom: Sequence[Json] = ()) -> str:
    """The text of the page, from the content of the result files by their names."""
    sections = [_section(name, results[name]) for name in sorted(results, key=_order)]
    return "\n".join([HEAD, *sections, *([_headroom(headroom)] if headroom else [])]).rstrip() + "\n"


def read_results(pattern: str = "benchmark-*.json") -> dict[str, Json]:
    """The committed results, by the names of their files."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern))}


def read_headroom() -> list[Json]:
    """What ``benchmarks/headroom.py`` found, the default reward first."""
    return list(read_results("headroom-*.json").values())[::-1]


HEADROOM = """\
## What each gate could earn

In states that noisy static gates lead to, each action of a grid earns something for the next token. How much more than
with the best constant action one can earn there (50 tokens ± standard error over rows of episodes) depends on what one
sees. Without a gate means that it is held at its best constant value; beside a reward stands what the best constant
action earns in these states. Networks learned in other episodes on the same training openings; what they do not find
may still be there:

```bash
{commands}
```

| reward | who chooses | all gates | without creativity | without focus | without stability |
|---|---|---|---|---|---|
"""
ONLOOKERS = ("who sees the reward", "who sees the observation", "who sees all that the model knows")


def _headroom(found: Sequence[Json]) -> str:
    """What a gate's share of the next token's reward is, from the content of ``headroom-*.json``."""
    rows = [
        f"| `{one['reward']}` ({one['it earns']:.2f}) | {who} | "
        + " | ".join(f"{gain['mean']:+.2f} ± {gain['standard_error']:.2f}" for gain in one[who].values())
        + " |"
        for one in found
        for who in ONLOOKERS
    ]
    return HEADROOM.format(commands="\n".join(one["command"] for one in found)) + "\n".join(rows) + "\n"


def _order(name: str) -> tuple[bool, str]:
    """The default reward first, and each reward's own benchmark before its variants."""
    return (not name.startswith("benchmark-tidal"), Path(name).stem)


def _section(name: str, results: Json) -> str:
    config, comparison = results["config"], results["comparison"]
    env = config["training"]["env"]
    model = Path(env["model"]).name
    lines = [
        f"## Reward `{env['reward']}`, model `{model}`",
        "",
        f"{config['seeds']} seeds of {config['training']['total_steps']:,} env steps, {config['episodes']} held-out "
        f"episodes of up to {env['max_episode_steps']} tokens, the oracle on the first {config['oracle_episodes']} "
        f"([{name}](../benchmarks/results/{name}), {results['made_with']['machine']}, "
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
        lines += ["| what was to be shown | | evidence |", "|---|---|---|"]
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
            "Judge loss and MAUVE are read by the model that also pays this reward; the other six know nothing of it.\n"
        ]
    lines += _budgets(results["budgets"])
    return "\n".join(lines)


def _returns(comparison: Json) -> list[str]:
    advantages = {advantage["over"]: advantage for advantage in comparison["advantages"]}
    lines = [
        "| agent | runs × episodes | return | IQM | controllers earn more | P(improvement) |",
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
    return ["| gate frozen at its mean | return lost | needed |", "|---|---|---|", *rows, ""]


def _texts(texts: list[Json]) -> list[str]:
    if not texts:
        return []
    lines = [
        "| measure of text | human | controllers | best static | distance: controllers minus best static | nearer |",
        "|---|---|---|---|---|---|",
    ]
    for one in texts:
        nearer = "controllers" if one["is_nearer"] else "best static"
        is_sure = one["difference"]["high"] < 0 or one["difference"]["low"] > 0
        lines.append(
            f"| {one['measure'].replace('_', ' ')} "
            f"| {one['human']:.3f} | {one['learned']:.3f} | {one['baseline']:.3f} "
            f"| {interval_text(one['difference'], '+.3f')} | {nearer if is_sure else f'{nearer}, not surely'} |"
        )
    return [*lines, ""]


def _budgets(budgets: list[Json]) -> list[str]:
    lines = ["| method | env steps | settings tried | found |", "|---|---|---|---|"]
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
