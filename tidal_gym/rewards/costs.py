"""Costs: what an episode may spend, for agents that learn under a constraint.

A cost is a number per token in ``info["cost"]``, apart from the reward. The ready-made ones say how far the token lies
on the wrong side of a bound, below 0 where it lies on the right side. Their sum over an episode is at most 0 in the
mean exactly when the mean over tokens keeps the bound, however long the episodes are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from lm.checks import SHARE, require_number
from lm.errors import InvalidValueError
from tidal_gym.rewards.rewards import Outcome, RewardReference, diversity_term, repetition_term


class Cost(Protocol):
    """A pure function of the outcome, for all rows and candidates at once: costs (N, K)."""

    def __call__(self, outcome: Outcome) -> Tensor: ...


CostFactory = Callable[[RewardReference, "float | None"], Cost]
"""Makes a cost from the reference and the `cost_bound` that the environment was given, None for the cost's own."""

_FACTORIES: dict[str, CostFactory] = {}


def register_cost(name: str) -> Callable[[CostFactory], CostFactory]:
    """A decorator that makes ``cost=name`` stand for the decorated factory, in this process."""

    def bind(factory: CostFactory) -> CostFactory:
        _FACTORIES[name] = factory
        return factory

    return bind


def registered_costs() -> tuple[str, ...]:
    """Names that costs are registered under in this process."""
    return tuple(_FACTORIES)


def make_cost(name: str | None, reference: RewardReference, bound: float | None) -> Cost | None:
    """The cost that `name` stands for; None for None.

    Raises:
        InvalidValueError: nothing is registered under the name, there is a bound without a cost, or the cost refuses
            it.
    """
    if name is None:
        if bound is not None:
            raise InvalidValueError("cost_bound", "must be None without a `cost`", bound)
        return None
    if name not in _FACTORIES:
        raise InvalidValueError("cost", f"must be None or one of {', '.join(_FACTORIES)}", repr(name))
    return _FACTORIES[name](reference, bound)


DIVERSITY_FLOOR = 0.55
"""Mean diversity term that "diversity_floor" asks for, unless told otherwise."""

REPETITION_CEILING = 0.02
"""Mean repetition penalty that "repetition_ceiling" allows, unless told otherwise; plain sampling has 0.028."""


@register_cost("diversity_floor")
def diversity_floor(reference: RewardReference, bound: float | None = None) -> Cost:
    """bound - diversity, in [bound - 1, bound]: the default reward's diversity term is at least `bound` in the mean."""
    floor = require_number("cost_bound", DIVERSITY_FLOOR if bound is None else bound, SHARE)

    def cost(outcome: Outcome) -> Tensor:
        diversity = diversity_term(outcome.sampling_entropy, reference.entropy_target)
        return (floor - diversity).unsqueeze(1).expand_as(outcome.log_prob)

    return cost


@register_cost("repetition_ceiling")
def repetition_ceiling(reference: RewardReference, bound: float | None = None) -> Cost:
    """penalty - bound, in [-bound, 1 - bound]: the repetition penalty shall be at most `bound` in the mean."""
    ceiling = require_number("cost_bound", REPETITION_CEILING if bound is None else bound, SHARE)

    def cost(outcome: Outcome) -> Tensor:
        penalty = -repetition_term(outcome.tokens, outcome.newest, outcome.recent)
        return penalty.to(outcome.log_prob.dtype) - ceiling

    return cost
