"""Effects of the gates: episodes with constant settings at the ends of their ranges."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from agents.baselines.baselines import Fixed
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import Episodes, run_series
from agents.evaluation.evaluation import summarize
from agents.evaluation.intervals import Interval, bootstrap_mean
from lm.models.gate_names import GATE_NAMES, NEUTRAL_GATES
from lm.runs.progress import Progress, Report, ignore
from lm.runs.stop import StopRequest

CORNERS = tuple(itertools.product((0.0, 1.0), repeat=len(GATE_NAMES)))
FACE_CENTRES = tuple(
    tuple(end if axis == gate else 0.5 for axis in range(len(GATE_NAMES)))
    for gate in range(len(GATE_NAMES))
    for end in (0.0, 1.0)
)
EXTREME_SETTINGS: tuple[tuple[float, ...], ...] = (NEUTRAL_GATES, *CORNERS, *FACE_CENTRES)
"""15 settings: the neutral one to compare with; the 8 corners of the gate cube, all gates at an end at once; the 6
centres of its faces, one gate at an end and the others in the middle. They show the effect of a gate with the
others closed, half open and open: corners and face centres are the outer points of a three-factor design."""


@dataclass(frozen=True)
class SweptSetting:
    """Result of a constant setting in the first episodes of the analysis."""

    gates: tuple[float, ...]
    """Gates of the setting: creativity, focus, stability."""
    kind: str
    """Kind of setting: neutral, corner or face."""
    mean_return: Interval
    """Mean sum of rewards of an episode."""
    advantage: Interval
    """Paired difference of returns: analysed agent minus this setting."""
    term_sums: dict[str, float]
    """Mean over episodes of the sum of each unweighted reward term."""
    perplexity: float
    """exp of the mean surprisal of the drawn tokens under the neutral model."""
    entropy: float
    """Mean entropy of the distributions that tokens were drawn from [nats]."""
    distinct_2_per_text: float
    """Share of bigrams that do not occur earlier in their text."""


def sweep_extremes(
    env: EnvConfig,
    reference: Episodes,
    *,
    seed: int,
    num_envs: int,
    progress: Report = ignore,
    stop: StopRequest | None = None,
) -> tuple[SweptSetting, ...]:
    """Run every extreme setting on the same episodes.

    Args:
        env: environment with the prompts to use.
        reference: the analysed agent's episodes with the same seed; each setting runs as many.
        seed: seed of the episodes.
        num_envs: number of parallel rows.
        progress: receives the number of finished settings.
        stop: stop request. Finish: the sweep ends without a result.

    Returns:
        The results of all settings; empty if the sweep was to finish before the last one.

    Raises:
        RunCancelledError: `stop` requested a cancel.
    """
    count = len(reference.lengths)
    vector_env = env.make(min(num_envs, count))
    found = []
    try:
        for number, gates in enumerate(EXTREME_SETTINGS):
            if stop is not None and stop.is_requested:
                stop.raise_if_cancelled()
                return ()
            episodes = run_series(Fixed(gates), vector_env, count, seed, stop=stop)
            if len(episodes.lengths) < count:
                return ()
            figures = summarize("", episodes, seed, 0, vector_env)
            found.append(
                SweptSetting(
                    gates=gates,
                    kind="neutral" if number == 0 else "corner" if gates in CORNERS else "face",
                    mean_return=figures.mean_return,
                    advantage=bootstrap_mean(np.subtract(reference.returns, episodes.returns), seed),
                    term_sums=figures.term_sums,
                    perplexity=figures.perplexity,
                    entropy=figures.sampling_entropy,
                    distinct_2_per_text=figures.text.distinct_2_per_text,
                )
            )
            progress(Progress("Sweeping the extreme settings", number + 1, len(EXTREME_SETTINGS), "settings"))
    finally:
        vector_env.close()
    return tuple(found)
