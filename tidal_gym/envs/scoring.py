"""Scores of a step: reward and its terms, expected reward, cost, and the judge that some rewards need."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tidal_gym.dynamics.modulation import GateEffects
from tidal_gym.rewards.costs import Cost
from tidal_gym.rewards.judge import Judge
from tidal_gym.rewards.rewards import Outcome, Reward


@dataclass(frozen=True)
class Scoring:
    """Reward, cost and judge of an environment."""

    reward: Reward
    """Reward of candidate tokens."""
    cost: Cost | None = None
    """Cost of candidate tokens; None: there is none."""
    judge: Judge | None = None
    """Second source of next-token probabilities, which reads the same texts; None: there is none."""
    with_expectation: bool = False
    """Whether the expected reward of a step is reported."""

    @property
    def judged(self) -> Tensor | None:
        """(N, V) log P of the next token under the judge [nats], where there is one."""
        return None if self.judge is None else self.judge.log_probs

    def begin(self, rows: Tensor, prompts: Tensor, lengths: Tensor) -> None:
        """The judge begins rows anew; see :meth:`tidal_gym.rewards.judge.Judge.begin`."""
        if self.judge is not None:
            self.judge.begin(rows, prompts, lengths)

    def read(self, tokens: Tensor) -> None:
        """The judge reads one more token (N,) in every row."""
        if self.judge is not None:
            self.judge.advance(tokens)

    def copy_rows(self, other: Scoring, rows: Tensor) -> None:
        """The judge copies rows (N,) of the judge of `other`, which is of the same kind."""
        if self.judge is not None and other.judge is not None:
            self.judge.copy_rows(other.judge, rows)

    def judge_state(self) -> dict[str, Tensor]:
        """What the judge has read, sharing memory."""
        return {} if self.judge is None else self.judge.state()

    def report(self, drawn: Outcome, possible: Outcome | None, effects: GateEffects) -> dict[str, Tensor]:
        """What a step reports by name, (N,) each.

        Args:
            drawn: tokens that were drawn (K = 1).
            possible: all tokens that q could draw, for the expected reward; None: it is not reported.
            effects: of the gates.
        """
        scored = self.reward(drawn)
        report = {
            "reward": scored.total[:, 0],
            "token": drawn.tokens[:, 0],
            **{f"reward_{name}": term[:, 0] for name, term in scored.terms.items()},
            "log_prob": drawn.log_prob[:, 0],
            "entropy": drawn.sampling_entropy,
            "temperature": effects.temperature,
            "penalty": effects.penalty,
        }
        if possible is not None:
            report["expected_reward"] = self.expected_reward(possible)
        if self.cost is not None:
            report["cost"] = self.cost(drawn)[:, 0]
        return report

    def expected_reward(self, possible: Outcome) -> Tensor:
        """(N,) exact mean of the reward over all tokens that q could draw, which are the candidates."""
        return (possible.sampling.probs * self.reward(possible).total).sum(dim=1)
