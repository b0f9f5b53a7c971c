"""Rewards: named terms, then one weighted sum.

A reward is any callable from an :class:`Outcome` to :class:`RewardTerms`. It is chosen by name (`reward="tidal"`): one
that :func:`register_reward` has bound to a factory, or ``"module:attribute"``. The environment scores the drawn token
with it, and the one-step oracle all tokens that could be drawn.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lm.checks import WEIGHT, at_least, check_fields, require_number
from lm.errors import InvalidValueError
from lm.models.reference_statistics import ReferenceStatistics
from lm.settings import settings_from
from tidal_gym.dynamics.modulation import SamplingDistribution
from tidal_gym.dynamics.observation import LARGEST_SURPRISAL


class Outcome(NamedTuple):
    """What a reward may look at: K candidate tokens in the situation of each of N rows (K is 1 for a drawn token)."""

    tokens: Tensor
    """(N, K) ids of the candidates."""
    log_prob: Tensor
    """(N, K) log p of the candidates [nats], p the neutral distribution, which no action can change."""
    sampling: SamplingDistribution
    """q, the distribution that the candidates are drawn from."""
    newest: Tensor
    """(N,) ids of the tokens that the candidates would follow."""
    recent: Tensor
    """(N, 10) ids of the last tokens of the text, the newest included; -1 where there are fewer."""
    text: Tensor
    """(N, L) ids of the whole text before the candidates; what lies behind a row's length has no meaning."""
    lengths: Tensor
    """(N,) tokens of each text."""
    judged: Tensor | None = None
    """(N, V) log P of the next token under the judge [nats], where there is one (:mod:`tidal_gym.rewards.judge`)."""

    @property
    def sampling_entropy(self) -> Tensor:
        """(N,) entropy of q [nats]."""
        return self.sampling.entropy


class RewardTerms(NamedTuple):
    """A reward, taken apart."""

    terms: Mapping[str, Tensor]
    """Unweighted terms by name, (N, K) each; ``info`` carries them as ``reward_<name>``."""
    total: Tensor
    """(N, K) the reward: weighted sum of the terms."""


class Reward(Protocol):
    """A pure function of the outcome, for all rows and candidates at once."""

    def __call__(self, outcome: Outcome) -> RewardTerms: ...


class RewardReference(NamedTuple):
    """What a reward knows beforehand."""

    statistics: ReferenceStatistics
    """Of the model's bundle: H*, unigram and bigram counts."""
    vocab_size: int
    """V."""
    entropy_target: float
    """The entropy that sampling should have [nats]: H*, unless the environment was given another."""
    has_judge: bool = False
    """Whether somebody else says what should come next: whether outcomes are `judged`."""


RewardFactory = Callable[[RewardReference, "Mapping[str, float] | None"], Reward]
"""Makes a reward from the reference and the `reward_weights` that the environment was given."""

_FACTORIES: dict[str, RewardFactory] = {}


def register_reward(name: str) -> Callable[[RewardFactory], RewardFactory]:
    """A decorator that makes ``reward=name`` stand for the decorated factory.

    Registration lives in the process: for environments in worker processes, give ``reward="module:attribute"``, which
    needs none.
    """

    def bind(factory: RewardFactory) -> RewardFactory:
        _FACTORIES[name] = factory
        return factory

    return bind


def registered_rewards() -> tuple[str, ...]:
    """Names that rewards are registered under in this process."""
    return tuple(_FACTORIES)


def make_reward(name: str, reference: RewardReference, weights: Mapping[str, float] | None) -> Reward:
    """The reward that `name` stands for.

    Raises:
        InvalidValueError: nothing is registered under the name, there is no such ``module:attribute``, or the factory
            refuses the weights.
    """
    if name in _FACTORIES:
        return _FACTORIES[name](reference, weights)
    module, _, attribute = str(name).partition(":")
    try:
        if not attribute:
            raise AttributeError("no such name is registered")
        factory = getattr(importlib.import_module(module), attribute)
        if not callable(factory):
            raise AttributeError("it cannot be called")
    except (ImportError, AttributeError, ValueError) as error:
        rule = f"must be one of {', '.join(_FACTORIES)}, or a factory as 'module:attribute'"
        raise InvalidValueError("reward", rule, f"{name!r} ({error})") from error
    return factory(reference, weights)


@dataclass(frozen=True)
class TidalWeights:
    """How much each term of the default reward counts; any finite number, 0 switches a term off."""

    perplexity: float = 0.4
    """Of the penalty for surprising tokens."""

    diversity: float = 0.3
    """Of the bonus for sampling at human entropy."""

    repetition: float = 0.2
    """Of the penalty for recent tokens."""

    coherence: float = 0.1
    """Of the bonus for familiar bigrams."""

    def __post_init__(self) -> None:
        check_fields(
            self, "reward_weights", perplexity=WEIGHT, diversity=WEIGHT, repetition=WEIGHT, coherence=WEIGHT
        )


@register_reward("tidal")
class TidalReward:
    """The default reward: likely for the neutral model, sampled at human entropy, without repeats, in familiar bigrams.

    Raises:
        InvalidValueError: `weights` names an unknown term, or the entropy target is not positive.
    """

    def __init__(self, reference: RewardReference, weights: Mapping[str, float] | None = None) -> None:
        require_number("entropy_target", reference.entropy_target, at_least(1e-3, 1e3))
        self.weights = settings_from(TidalWeights, "reward_weights", weights)
        self._reference = reference

    def __call__(self, outcome: Outcome) -> RewardTerms:
        """Terms and total, (N, K)."""
        statistics, vocab_size, entropy_target, _ = self._reference
        bigrams = statistics.bigram_log_prob(outcome.newest, outcome.tokens)
        terms = {
            "perplexity": perplexity_term(outcome.log_prob),
            "diversity": diversity_term(outcome.sampling_entropy, entropy_target).unsqueeze(1).expand_as(bigrams),
            "repetition": repetition_term(outcome.tokens, outcome.newest, outcome.recent).to(outcome.log_prob.dtype),
            "coherence": coherence_term(bigrams, vocab_size).to(outcome.log_prob.dtype),
        }
        total = sum(getattr(self.weights, name) * term for name, term in terms.items())
        return RewardTerms(terms, torch.as_tensor(total))


def perplexity_term(log_prob: Tensor) -> Tensor:
    """-min(-log p, C)/C, in [-1, 0], with C = log 100; shape of `log_prob`."""
    return log_prob.clamp(min=-LARGEST_SURPRISAL) / LARGEST_SURPRISAL


def diversity_term(entropy: Tensor, target: float) -> Tensor:
    """exp(-½ ((H - target)/(target/2))²), in [0, 1], of entropies [nats]."""
    return (-0.5 * ((entropy - target) / (target / 2)) ** 2).exp()


def repetition_term(tokens: Tensor, newest: Tensor, recent: Tensor) -> Tensor:
    """-min(1, r + 0.3 [token = newest]), in [-1, 0]; r = 0, .25, .5, .75 for 0 to 3 recent occurrences, then .05 each.

    Args:
        tokens: (N, K) candidates.
        newest: (N,) last token of the text.
        recent: (N, 10) last tokens of the text, -1 where there are fewer.
    """
    count = (tokens.unsqueeze(2) == recent.unsqueeze(1)).sum(dim=2).double()  # (N, K)
    recurrence = torch.minimum(0.25 * count, 0.6 + 0.05 * count)  # the lines meet at 3 occurrences
    return 0.0 - (recurrence + 0.3 * (tokens == newest.unsqueeze(1)).float()).clamp(max=1.0)


def coherence_term(bigram_log_prob: Tensor, vocab_size: int) -> Tensor:
    """(log P + log V)/log V clipped to [0, 1]: 0 for what is no likelier than chance, 1 for what is certain."""
    log_vocab_size = math.log(vocab_size)
    return ((bigram_log_prob + log_vocab_size) / log_vocab_size).clamp(0.0, 1.0)
