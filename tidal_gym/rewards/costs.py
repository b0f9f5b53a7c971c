"""Costs of tokens, for constrained reinforcement learning.

A cost is a number per token in ``info["cost"]``, separate from the reward. The registered ones are the distance of a
quantity from a bound, positive if it violates the bound. The mean of their sum over an episode is at most 0 if and only
if the mean over tokens satisfies the bound, for episodes of any length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from lm.checks import SHARE, require_number
from lm.errors import InvalidValueError
from tidal_gym.rewards.rewards import Outcome, RewardReference, diversity_term, repetition_term


class Cost(Protocol):
    """Protocol of costs: a pure function from an outcome to costs (N, K) of all rows and candidates."""

    def __call__(self, outcome: Outcome) -> Tensor: ...


CostFactory = Callable[[RewardReference, "float | None"], Cost]
"""Function that makes a cost from the reference and the environment's `cost_bound`; None: the cost's default."""

_FACTORIES: dict[str, CostFactory] = {}


def register_cost(name: str) -> Callable[[CostFactory], CostFactory]:
    """Decorator that registers a factory of costs under a name, in this process."""

    def bind(factory: CostFactory) -> CostFactory:
        _FACTORIES[name] = factory
        return factory

    return bind


def registered_costs() -> tuple[str, ...]:
    """Names of the costs registered in this process."""
    return tuple(_FACTORIES)


def make_cost(name: str | None, reference: RewardReference, bound: float | None) -> Cost | None:
    """Makes the cost with a name; None for None.

    Raises:
        InvalidValueError: the name is not registered, there is a bound without a cost, or the bound is out of range.
    """
    if name is None:
        if bound is not None:
            raise InvalidValueError("cost_bound", "must be None without a `cost`", bound)
        return None
    if name not in _FACTORIES:
        raise InvalidValueError("cost", f"must be None or one of {', '.join(_FACTORIES)}", repr(name))
    return _FACTORIES[name](reference, bound)


DIVERSITY_FLOOR = 0.55
"""Default bound of "diversity_floor": minimum mean diversity term."""

REPETITION_CEILING = 0.02
"""Default bound of "repetition_ceiling": maximum mean repetition penalty; plain sampling has 0.028."""


@register_cost("diversity_floor")
def diversity_floor(reference: RewardReference, bound: float | None = None) -> Cost:
    """Cost: bound - diversity, in [bound - 1, bound], for a mean diversity term of at least `bound`."""
    floor = require_number("cost_bound", DIVERSITY_FLOOR if bound is None else bound, SHARE)

    def cost(outcome: Outcome) -> Tensor:
        diversity = diversity_term(outcome.sampling_entropy, reference.entropy_target)
        return (floor - diversity).unsqueeze(1).expand_as(outcome.log_prob)

    return cost


@register_cost("repetition_ceiling")
def repetition_ceiling(reference: RewardReference, bound: float | None = None) -> Cost:
    """Cost: penalty - bound, in [-bound, 1 - bound], for a mean repetition penalty of at most `bound`."""
    ceiling = require_number("cost_bound", REPETITION_CEILING if bound is None else bound, SHARE)

    def cost(outcome: Outcome) -> Tensor:
        penalty = -repetition_term(outcome.tokens, outcome.newest, outcome.recent)
        return penalty.to(outcome.log_prob.dtype) - ceiling

    return cost
