"""Search strategies of the tuner: which settings run how many episodes within a budget of env steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lm.checks import COUNT, Bounds, check_fields
from lm.extras import require_extra

if TYPE_CHECKING:
    import optuna

    from agents.baselines.search_space import Range
    from agents.baselines.setting_runner import Rows, SettingRunner


@dataclass(frozen=True)
class Trial:
    """Result of one setting in one round of a search."""

    parameters: Mapping[str, float]
    """The setting."""
    mean_return: float
    """Its mean return."""
    episodes: int
    """Number of episodes in that mean."""
    round: int = 0
    """Round of the search, from 0. The trials of the last round decide."""


@runtime_checkable
class Strategy(Protocol):
    """Searches a space of parameters with the episodes of a :class:`SettingRunner`."""

    def least_steps(self, rows: Rows) -> int:
        """Env steps below which the search is impossible."""

    def limit_above(self, env_steps: int, rows: Rows) -> int:
        """Budget under which at least `env_steps` are spent, although no part of a batch can be run."""

    def search(self, space: Mapping[str, Range], runner: SettingRunner) -> tuple[Trial, ...]:
        """Run the search, and end it early when ``runner.is_ending``.

        Returns:
            All trials, at least one, round by round. The best setting is the best of the last round.
        """


@dataclass(frozen=True)
class SuccessiveHalving:
    """Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943).

    Every round costs about the same: each remaining setting runs the same episodes, then the best quarter goes on and
    gets four times as many. The settings are the defaults and a scrambled Sobol sequence, stretched by 5% so that the
    borders of the ranges are included. The budget may be exceeded by less than one batch of episodes.
    """

    num_settings: int = 256
    """Number of settings in the first round, at least 1."""
    keep: float = 0.25
    """Fraction of the settings that goes on to the next round, in (0, 1)."""

    def __post_init__(self) -> None:
        check_fields(self, num_settings=COUNT, keep=Bounds(0, 1, is_open_below=True, is_open_above=True))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of settings in each round."""
        sizes = [self.num_settings]
        while sizes[-1] * self.keep >= 2:
            sizes.append(min(int(np.ceil(sizes[-1] * self.keep)), sizes[-1] - 1))
        return tuple(sizes)

    def least_steps(self, rows: Rows) -> int:
        """The fewest episodes of every setting in every round."""
        return sum(rows.env_steps_of(size, rows.fewest_episodes) for size in self.sizes)

    def limit_above(self, env_steps: int, rows: Rows) -> int:
        """2% more, at least the fewest episodes of every setting of the last round, which may leave fewer steps."""
        return max(round(1.02 * env_steps), env_steps + self.sizes[-1] * rows.fewest_episodes * rows.episode_steps)

    def search(self, space: Mapping[str, Range], runner: SettingRunner) -> tuple[Trial, ...]:
        """Run all rounds. A trial's mean return is over the setting's episodes of all rounds so far.

        A search that is to finish ends with the round under way, its settings compared in the episodes so far.
        """
        settings = _sobol_settings(space, self.num_settings, runner.seed)
        sums = np.zeros(self.num_settings)
        alive = np.arange(self.num_settings)
        trials: list[Trial] = []
        episodes = 0  # of every remaining setting so far
        for number, size in enumerate(self.sizes):
            alive = alive[np.argsort(-sums[alive] / max(episodes, 1), kind="stable")][:size]
            share = (runner.env_steps - runner.spent) / (len(self.sizes) - number)
            fewest = runner.rows.fewest_episodes
            more = fewest * max(1, int(share / (size * fewest * runner.rows.episode_steps)))
            found = runner.returns([settings[one] for one in alive], range(episodes, episodes + more))
            if len(found) == 0:
                break
            for returns in found:
                sums[alive] += returns
            episodes += len(found)
            trials += [Trial(settings[one], float(sums[one] / episodes), episodes, number) for one in alive]
        return tuple(trials)


@dataclass(frozen=True)
class TPE:
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), then a final among the best settings.

    The search starts from the defaults; a trial runs one batch of episodes, the same ones for all. The maximum of many
    noisy means is biased upwards, so the best few settings then run new episodes, and these alone decide. The budget
    is never exceeded.
    """

    num_finalists: int = 4
    """Settings in the final, at least 1; fewer if there are not as many trials."""
    final_share: float = 0.4
    """Share of the env steps that is kept for the final, at least 0 and below 1; if it does not suffice for a batch
    of every finalist, there is no final and the search decides."""

    def __post_init__(self) -> None:
        check_fields(self, num_finalists=COUNT, final_share=Bounds(0, 1, is_open_above=True))

    def least_steps(self, rows: Rows) -> int:
        """One trial."""
        return rows.batch_steps

    def limit_above(self, env_steps: int, rows: Rows) -> int:
        """One batch more for each finalist: what is left over is too little for that."""
        return env_steps + self.num_finalists * rows.batch_steps

    def search(self, space: Mapping[str, Range], runner: SettingRunner) -> tuple[Trial, ...]:
        """Run the search (round 0) and the final (round 1).

        A search that is to finish has no final, unless all its finalists have run.
        """
        require_extra("optuna", "tune", "Tuning with TPE")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)  # else it writes a line for every study
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=runner.seed))
        study.enqueue_trial({name: where.default for name, where in space.items()})
        distributions: dict[str, optuna.distributions.BaseDistribution] = {
            name: where.distribution() for name, where in space.items()
        }

        num_envs, batch_steps = runner.rows.num_envs, runner.rows.batch_steps

        def mean_return(parameters: Mapping[str, float], batch: int) -> float:
            episodes = range(batch * num_envs, (batch + 1) * num_envs)
            return float(runner.returns([parameters], episodes).mean())

        trials: list[Trial] = []
        limit = (1 - self.final_share) * runner.env_steps
        while not trials or (runner.spent + batch_steps <= limit and not runner.is_ending):
            asked = study.ask(distributions)
            trials.append(Trial(asked.params, mean_return(asked.params, 0), num_envs))
            study.tell(asked, trials[-1].mean_return)
        distinct = {tuple(trial.parameters.items()): trial for trial in trials}.values()
        best = sorted(distinct, key=lambda trial: -trial.mean_return)[: self.num_finalists]
        batches = (runner.env_steps - runner.spent) // (batch_steps * len(best))
        final: list[Trial] = []
        for trial in best if batches > 0 else ():
            means: list[float] = []
            for batch in range(batches):
                if runner.is_ending:
                    return tuple(trials)
                means.append(mean_return(trial.parameters, 1 + batch))
            final.append(Trial(trial.parameters, float(np.mean(means)), batches * num_envs, 1))
        return (*trials, *final)


def _sobol_settings(space: Mapping[str, Range], num_settings: int, seed: int) -> list[dict[str, float]]:
    """Settings that cover a space evenly, the defaults first."""
    from scipy.stats import qmc  # takes a moment to import

    exponent = int(np.ceil(np.log2(max(num_settings, 2))))
    points: NDArray[np.float64] = qmc.Sobol(len(space), seed=seed).random_base2(exponent)[: num_settings - 1]
    stretched = np.clip(1.1 * points - 0.05, 0.0, 1.0)
    defaults = {name: where.default for name, where in space.items()}
    ranges = list(space.items())
    return [defaults, *({name: where.at(float(one)) for (name, where), one in zip(ranges, point, strict=True)}
                        for point in stretched)]  # fmt: skip
