"""Rewards: weighted sums of named terms.

A reward is a callable from an :class:`Outcome` to :class:`RewardTerms`. It is chosen by name (`reward="tidal"`):
registered with :func:`register_reward`, or ``"module:attribute"``. The environment applies it to the drawn token, and
to all tokens of q for expected rewards.
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
from tidal_gym.dynamics.observation import LARGEST_SURPRISAL
from tidal_gym.dynamics.sampling_distribution import SamplingDistribution


class Outcome(NamedTuple):
    """Input of a reward: K candidate tokens in the current state of each of N rows (K is 1 for the drawn token)."""

    tokens: Tensor
    """(N, K) token ids of the candidates."""
    log_prob: Tensor
    """(N, K) log-probabilities of the candidates under the neutral distribution p [nats], independent of the action."""
    sampling: SamplingDistribution
    """The sampling distribution q."""
    newest: Tensor
    """(N,) ids of the tokens before the candidates."""
    recent: Tensor
    """(N, 10) ids of the last tokens of the text, the newest included; -1 if the text is shorter."""
    text: Tensor
    """(N, L) ids of the whole text before the candidates; entries beyond a row's length are undefined."""
    lengths: Tensor
    """(N,) lengths of the texts [tokens]."""
    judged: Tensor | None = None
    """(N, V) log-probabilities of the next token under the judge [nats]; None without a judge."""

    @property
    def sampling_entropy(self) -> Tensor:
        """(N,) entropy of q [nats]."""
        return self.sampling.entropy


class RewardTerms(NamedTuple):
    """A reward and its terms."""

    terms: Mapping[str, Tensor]
    """Unweighted terms by name, (N, K) each; ``info`` contains them as ``reward_<name>``."""
    total: Tensor
    """(N, K) reward: the weighted sum of the terms."""


class Reward(Protocol):
    """Protocol of rewards: a pure function from an outcome to the rewards of all rows and candidates."""

    def __call__(self, outcome: Outcome) -> RewardTerms: ...


class RewardReference(NamedTuple):
    """Constants of an environment that a reward is made with."""

    statistics: ReferenceStatistics
    """Reference statistics of the model: H*, unigram and bigram counts."""
    vocab_size: int
    """Vocabulary size V."""
    entropy_target: float
    """Target of the sampling entropy [nats]: H* by default."""
    has_judge: bool = False
    """Whether the environment has a judge, so that outcomes have `judged`."""


RewardFactory = Callable[[RewardReference, "Mapping[str, float] | None"], Reward]
"""Function that makes a reward from the reference and the environment's `reward_weights`."""

_FACTORIES: dict[str, RewardFactory] = {}


def register_reward(name: str) -> Callable[[RewardFactory], RewardFactory]:
    """Decorator that registers a factory of rewards under a name.

    The registration applies to this process. For environments in worker processes, use ``reward="module:attribute"``,
    which needs no registration.
    """

    def bind(factory: RewardFactory) -> RewardFactory:
        _FACTORIES[name] = factory
        return factory

    return bind


def registered_rewards() -> tuple[str, ...]:
    """Names of the rewards registered in this process."""
    return tuple(_FACTORIES)


def make_reward(name: str, reference: RewardReference, weights: Mapping[str, float] | None) -> Reward:
    """Makes the reward with a name.

    Raises:
        InvalidValueError: the name is not registered, the ``module:attribute`` does not exist, or the weights are
            invalid.
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
    """Weights of the default reward's terms; any finite numbers, 0 disables a term."""

    perplexity: float = 0.4
    """Weight of the perplexity term, a penalty for improbable tokens."""

    diversity: float = 0.3
    """Weight of the diversity term, a bonus for sampling at the entropy of human text."""

    repetition: float = 0.2
    """Weight of the repetition term, a penalty for recent tokens."""

    coherence: float = 0.1
    """Weight of the coherence term, a bonus for frequent bigrams."""

    def __post_init__(self) -> None:
        check_fields(
            self, "reward_weights", perplexity=WEIGHT, diversity=WEIGHT, repetition=WEIGHT, coherence=WEIGHT
        )


@register_reward("tidal")
class TidalReward:
    """The default reward: weighted sum of the terms perplexity, diversity, repetition and coherence.

    Raises:
        InvalidValueError: `weights` names an unknown term, or the entropy target is not positive.
    """

    def __init__(self, reference: RewardReference, weights: Mapping[str, float] | None = None) -> None:
        require_number("entropy_target", reference.entropy_target, at_least(1e-3, 1e3))
        self.weights = settings_from(TidalWeights, "reward_weights", weights)
        self._reference = reference

    def __call__(self, outcome: Outcome) -> RewardTerms:
        """Terms and total reward, (N, K)."""
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
    """Perplexity term -min(-log p, C)/C, in [-1, 0], with C = log 100; shape of `log_prob`."""
    return log_prob.clamp(min=-LARGEST_SURPRISAL) / LARGEST_SURPRISAL


def diversity_term(entropy: Tensor, target: float) -> Tensor:
    """Diversity term exp(-½ ((H - target)/(target/2))²), in [0, 1], of entropies H [nats]."""
    return (-0.5 * ((entropy - target) / (target / 2)) ** 2).exp()


def repetition_term(tokens: Tensor, newest: Tensor, recent: Tensor) -> Tensor:
    """Repetition term -min(1, r + 0.3 [token = newest]), in [-1, 0].

    r = 0, .25, .5, .75 for 0 to 3 recent occurrences, plus .05 for each further one.

    Args:
        tokens: (N, K) ids of the candidates.
        newest: (N,) ids of the newest tokens of the text.
        recent: (N, 10) ids of the last tokens of the text, -1 if the text is shorter.
    """
    count = (tokens.unsqueeze(2) == recent.unsqueeze(1)).sum(dim=2).double()  # (N, K)
    recurrence = torch.minimum(0.25 * count, 0.6 + 0.05 * count)  # the lines meet at 3 occurrences
    return 0.0 - (recurrence + 0.3 * (tokens == newest.unsqueeze(1)).float()).clamp(max=1.0)


def coherence_term(bigram_log_prob: Tensor, vocab_size: int) -> Tensor:
    """Coherence term (log P + log V)/log V clipped to [0, 1]: 0 at the probability 1/V and below, 1 for certainty."""
    log_vocab_size = math.log(vocab_size)
    return ((bigram_log_prob + log_vocab_size) / log_vocab_size).clamp(0.0, 1.0)
