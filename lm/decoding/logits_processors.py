"""Decoding methods that transformers lacks, as logits processors for ``model.generate(logits_processor=[...])``.

Each maps scores (N, V), which are logits up to an additive constant per row, to scores whose softmax is the sampling
distribution. ``generate`` runs them before its own warpers: set its ``temperature``, ``top_k`` and ``top_p`` to 1, 0
and 1, otherwise they apply as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from lm.checks import TEMPERATURE, above, at_least, require_number
from lm.errors import InvalidValueError

LEAST_TEMPERATURE = 1e-3
"""Minimum temperature, so that scores stay finite; nearly greedy decoding."""


class EDTLogitsProcessor(LogitsProcessor):
    """Entropy-based dynamic temperature (Zhang et al. 2024, arXiv:2403.14541):

        T = T₀ · N^(θ/H),   N = 0.8

    with H the entropy [nats] of the input scores. T approaches 0 for low entropy and T₀ for high entropy.

    Args:
        base_temperature: T₀, above 0.
        theta: θ, at least 0, where 0 is the fixed temperature T₀.
        base: N, above 0 and at most 1; the paper uses 0.8 throughout.

    Raises:
        InvalidValueError: an argument is out of range.
    """

    def __init__(self, base_temperature: float, theta: float, base: float = 0.8) -> None:
        self.base_temperature = require_number("base_temperature", base_temperature, TEMPERATURE)
        self.theta = require_number("theta", theta, at_least(0, 1e6))
        self.base = require_number("base", base, above(0, 1))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (N, V) divided by each row's temperature."""
        # Clamped, so that θ/H is a number where θ and H are 0.
        entropy = score_entropy(scores).clamp(min=torch.finfo(scores.dtype).tiny)
        temperature = self.base_temperature * self.base ** (self.theta / entropy)
        return scores / temperature.clamp(min=LEAST_TEMPERATURE).unsqueeze(1)


class AdapTLogitsProcessor(LogitsProcessor):
    """Adaptive temperature (Zhu et al. 2023, arXiv:2309.02772): one temperature for challenging tokens, another one for
    all others:

        T = a where the token is challenging, else b

    In the paper, which generates code, the first token of a block is challenging, since its loss is high; `block_ends`
    are the tokens that a block begins after. For other text, a token is challenging if the model's entropy [nats] is
    above `entropy_threshold`. Exactly one of the two must be given.

    Args:
        challenging_temperature: a, above 0.
        confident_temperature: b, above 0.
        block_ends: token ids, at least one.
        entropy_threshold: threshold of the entropy of the input scores [nats], at least 0.

    Raises:
        InvalidValueError: an argument is out of range, or not exactly one of the last two is given.
    """

    def __init__(
        self,
        challenging_temperature: float,
        confident_temperature: float,
        *,
        block_ends: Sequence[int] | None = None,
        entropy_threshold: float | None = None,
    ) -> None:
        self.challenging_temperature = require_number("challenging_temperature", challenging_temperature, TEMPERATURE)
        self.confident_temperature = require_number("confident_temperature", confident_temperature, TEMPERATURE)
        if (block_ends is None) == (entropy_threshold is None):
            rule = "must be given, or else `entropy_threshold`, and not both"
            raise InvalidValueError("block_ends", rule, f"{block_ends} and {entropy_threshold}")
        if block_ends is not None and len(block_ends) == 0:
            raise InvalidValueError("block_ends", "must hold at least one token id", list(block_ends))
        if entropy_threshold is not None:
            require_number("entropy_threshold", entropy_threshold, at_least(0))
        self._block_ends = torch.as_tensor(list(block_ends or ()))
        self.entropy_threshold = entropy_threshold

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (N, V) divided by each row's temperature."""
        if self.entropy_threshold is not None:
            is_challenging = score_entropy(scores) > self.entropy_threshold
        else:
            is_challenging = torch.isin(input_ids[:, -1], self._block_ends.to(input_ids.device))
        challenging = scores.new_tensor(self.challenging_temperature)
        return scores / torch.where(is_challenging, challenging, self.confident_temperature).unsqueeze(1)


class TopNSigmaLogitsProcessor(LogitsProcessor):
    """Top-nσ (Tang et al. 2024, arXiv:2411.07641): keeps the tokens whose logit is within n standard deviations of the
    maximum:

        keep x where l(x) ≥ max(l) − n σ(l)

    σ is the sample standard deviation of all finite scores (denominator V − 1). The kept tokens do not depend on a
    temperature applied before or after.

    Args:
        n_sigma: n, above 0.

    Raises:
        InvalidValueError: `n_sigma` is not above 0.
    """

    def __init__(self, n_sigma: float) -> None:
        self.n_sigma = require_number("n_sigma", n_sigma, above(0, 1e6))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (N, V) with −inf for the removed tokens."""
        is_possible = scores > -torch.inf
        count = is_possible.sum(dim=1, keepdim=True)
        mean = scores.where(is_possible, 0).sum(dim=1, keepdim=True) / count
        squares = (scores - mean).where(is_possible, 0).square().sum(dim=1, keepdim=True)
        sigma = (squares / (count - 1).clamp(min=1)).sqrt()
        least = scores.amax(dim=1, keepdim=True) - self.n_sigma * sigma
        return scores.masked_fill(scores < least, -torch.inf)


class MirostatV2LogitsProcessor(LogitsProcessor):
    """Mirostat 2.0 (Basu et al. 2020, arXiv:2007.14966, algorithm 2): controls the surprisal of drawn tokens to τ bits.

        S(x) = −log₂ P(x),   keep x where S(x) ≤ μ,   then   μ ← μ − η (S(x drawn) − τ),   from μ = 2τ

    P is the softmax of the input scores. S is computed before truncation, as in the paper; llama.cpp computes it after
    renormalisation. The most probable token is always kept.

    Each row has its own μ. The drawn token is read from the end of `input_ids` at the next call. μ is reset in rows
    whose text does not extend that of the previous call by one token, so that one object can serve several calls of
    ``generate`` and environments that reset rows. Not for beam search, which reorders rows.

    Args:
        tau: τ, the target [bits], above 0.
        eta: η, the learning rate, above 0.

    Raises:
        InvalidValueError: an argument is not above 0.
    """

    def __init__(self, tau: float, eta: float = 0.1) -> None:
        self.tau = require_number("tau", tau, above(0, 1e6))
        self.eta = require_number("eta", eta, above(0, 1e6))
        self.mu: Tensor | None = None
        """(N,) μ after the last call [bits]; None before the first call."""
        self._last: tuple[Tensor, Tensor] | None = None
        """Texts (N, L) and surprisals (N, V) of the last call."""

    def reset(self) -> None:
        """Resets all rows."""
        self.mu = self._last = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (N, V) with −inf for tokens of a surprisal above μ."""
        surprise = -scores.log_softmax(dim=1) / math.log(2)
        self.mu = self._controlled(input_ids, scores.new_full((len(scores),), 2 * self.tau))
        self._last = input_ids.clone(), surprise
        limit = torch.maximum(self.mu, surprise.amin(dim=1)).unsqueeze(1)
        return scores.masked_fill(surprise > limit, -torch.inf)

    def _controlled(self, input_ids: Tensor, start: Tensor) -> Tensor:
        """μ (N,) updated with the drawn tokens; `start` (N,) for rows that were reset."""
        if self.mu is None or self._last is None:
            return start
        texts, surprise = self._last
        width = input_ids.shape[1]
        # `generate` appends a column; the environment shifts texts of a fixed width to the left.
        if len(texts) != len(input_ids) or width < 2 or texts.shape[1] not in (width - 1, width):
            return start
        goes_on = (input_ids[:, :-1] == texts[:, 1 - width :]).all(dim=1)
        # The padding id may exceed the vocabulary.
        newest = input_ids[:, -1:].clamp(max=surprise.shape[1] - 1)
        drawn = surprise.gather(1, newest).squeeze(1)
        return torch.where(goes_on, self.mu - self.eta * (drawn - self.tau), start)


def score_entropy(scores: Tensor) -> Tensor:
    """Entropy (N,) [nats] of the softmax of scores (N, V)."""
    return torch.special.entr(scores.softmax(dim=1)).sum(dim=1)
